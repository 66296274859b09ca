// What `dial` does, the same on Node and in a page.

import { multiaddr } from '@multiformats/multiaddr'
import { ECHO, send, start } from './node.mjs'

const MIB = 1 << 20
const WRITE = 64 << 10

// Resolves to what is printed, also when something fails.
export async function dial (address, options) {
  const result = { ok: false, peer: null, agent: null, rtt_ms: null, bytes: 0, error: null }
  const seconds = Number(options.timeout)
  let deadline
  try {
    const expired = new Promise((_resolve, reject) => {
      const late = () => reject(new Error(`not done after ${seconds} s; ${result.bytes} bytes were back`))
      deadline = setTimeout(late, seconds * 1000)
    })
    await Promise.race([talk(address, options, result), expired])
    result.ok = true
  } catch (error) {
    result.error = reason(error)
  }
  clearTimeout(deadline)
  return result
}

async function talk (address, options, result) {
  const node = await start()
  const began = performance.now()
  const connection = await node.dial(multiaddr(address))
  if (options['first-byte']) {
    await firstByte(connection)
    result.first_byte_ms = performance.now() - began
  }
  result.peer = connection.remotePeer.toString()
  const { agentVersion, protocols } = await node.services.identify.identify(connection)
  result.agent = agentVersion
  if (!protocols.includes(ECHO)) throw new Error(`identify tells of no ${ECHO}, but of ${protocols}`)

  for (let i = 0; i < Number(options.pings); i++) {
    const began = performance.now()
    await node.services.ping.ping(connection.remotePeer)
    result.rtt_ms = performance.now() - began
  }
  await Promise.all(Array.from({ length: Number(options.streams) }, (_, i) => compare(connection, i, options, result)))
  await node.stop()
}

// Sends one byte and waits until it is back.
async function firstByte (connection) {
  const stream = await connection.newStream(ECHO)
  await send(stream, Uint8Array.of(1))
  for await (const _byte of stream) break
  await stream.close()
}

// Sends so many MiB over a stream of its own and compares what comes back.
async function compare (connection, seed, options, result) {
  const length = Number(options.mib) * MIB
  const stream = await connection.newStream(ECHO)
  const sent = async () => {
    for (let at = 0; at < length; at += WRITE) await send(stream, pattern(seed, at))
    if (!options['late-close']) await stream.close()
  }
  const received = async () => {
    let at = 0
    for await (const list of stream) {
      const data = list.subarray()
      if (!isPattern(data, seed, at)) throw new Error(`stream ${seed} differs in bytes ${at} to ${at + data.length}`)
      at += data.length
      result.bytes += data.length
      if (at === length && options['late-close']) await stream.close()
    }
    if (at !== length) throw new Error(`the echo of stream ${seed} ended after ${at} of ${length} bytes`)
  }
  await Promise.all([sent(), received()])
}

// What a stream sends: it differs between streams, and its period is none of a window or a frame.
const PERIOD = 251 * 521
const PATTERN = Uint8Array.from({ length: PERIOD + WRITE }, (_, i) => (i % PERIOD % 251) ^ (i % PERIOD % 521))
const offset = (seed, at) => (at + 7919 * seed) % PERIOD
const pattern = (seed, at) => PATTERN.subarray(offset(seed, at), offset(seed, at) + WRITE)

function isPattern (data, seed, at) {
  let expected = offset(seed, at)
  for (let i = 0; i < data.length; i++) {
    if (data[i] !== PATTERN[expected]) return false
    if (++expected === PERIOD) expected = 0
  }
  return true
}

// The names of an error and of its causes; the page cannot hand over the error itself.
function reason (error) {
  const causes = []
  for (let cause = error; cause != null && causes.length < 4; cause = cause.cause ?? cause.error ?? cause.errors?.[0]) {
    causes.push(cause.message || cause.name || cause.type || `${cause}`)
  }
  return causes.join(': ')
}
