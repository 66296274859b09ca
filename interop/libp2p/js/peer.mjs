// js-libp2p on Node, with the command line of the example `peer`: `listen` and `dial`.

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { dial } from './dial.mjs'
import { ECHO, echo, start } from './node.mjs'
import { OPTIONS } from './options.mjs'

// js-libp2p asks for Node 22, of which it needs nothing else than this.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((_resolve, _reject) => { [resolve, reject] = [_resolve, _reject] })
  return { promise, resolve, reject }
}

async function listen (args) {
  const tls = args.indexOf('--tls')
  const [chain, key] = tls < 0 ? [] : args.splice(tls, 3).slice(1)
  const node = await start({
    listen: args,
    https: chain && { cert: readFileSync(chain), key: readFileSync(key) }
  })
  await node.handle(ECHO, echo, { maxInboundStreams: 256 })
  for (const addr of node.getMultiaddrs()) console.log(JSON.stringify({ addr: addr.toString() }))
  process.once('SIGTERM', async () => {
    await node.stop()
    process.exit(0)
  })
}

const [role, ...args] = process.argv.slice(2)
if (role === 'listen') {
  await listen(args)
} else {
  const { values, positionals: [address] } = parseArgs({
    args, allowPositionals: true, options: { ...OPTIONS, ca: { type: 'string' } }
  })
  const result = await dial(address, values)
  console.log(JSON.stringify(result))
  process.exit(result.ok ? 0 : 1)
}
