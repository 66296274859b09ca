// The options of `dial`, for `parseArgs`.

const number = preset => ({ type: 'string', default: `${preset}` })

export const OPTIONS = {
  mib: number(1),
  streams: number(1),
  pings: number(3),
  timeout: number(60),
  'late-close': { type: 'boolean', default: false },
  'first-byte': { type: 'boolean', default: false }
}
