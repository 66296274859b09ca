// A js-libp2p node, the same on Node and in a page, and the echo it serves.

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { webSockets } from '@libp2p/websockets'
import { createLibp2p } from 'libp2p'
import { pEvent } from 'p-event'

export const ECHO = '/echo/1.0.0'

export function start ({ listen = [], https } = {}) {
  return createLibp2p({
    addresses: { listen },
    transports: [webSockets({ https })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // A node serves one identify at a time to a peer, so that a dialer that asks by itself must not be asking already.
    services: { identify: identify({ runOnConnectionOpen: listen.length > 0 }), ping: ping() },
    // A node of the net refuses the sixth connection in a second from one host, a page every address of its own host.
    connectionManager: { inboundConnectionThreshold: Infinity },
    // A node pings what it is connected to every ten seconds, and resets the connection when data in front of it delays
    // the answer for some three: two of these that move data as fast as they can do so to each other.
    connectionMonitor: { enabled: false },
    connectionGater: { denyDialMultiaddr: () => false }
  })
}

// Sends, and waits while the stream wants no more.
export async function send (stream, data) {
  if (!stream.send(data)) await pEvent(stream, 'drain', { rejectionEvents: ['close'] })
}

// Gives back what comes until the other end half-closes.
export async function echo (stream) {
  try {
    for await (const data of stream) await send(stream, data)
    await stream.close()
  } catch (error) {
    stream.abort(error)
  }
}
