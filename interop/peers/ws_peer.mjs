// Node's ws as `client URL [CA]` or as `server [CHAIN KEY]`; what it does is told in matrix.py.

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import WebSocket, { WebSocketServer } from 'ws'

const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20]

const tell = what => console.log(JSON.stringify(what))
const pattern = length => Buffer.from(Uint8Array.from({ length }, (_, i) => i % 251))

// Resolves when so many bytes have come: message boundaries mean nothing to a byte stream.
function receive (socket, length) {
  return new Promise((resolve, reject) => {
    const parts = []
    let missing = length
    const take = part => {
      parts.push(part)
      missing -= part.length
      if (missing <= 0) done()
    }
    const fail = code => reject(new Error(`closed with ${code}`))
    const done = () => {
      socket.off('message', take).off('close', fail)
      resolve(Buffer.concat(parts))
    }
    socket.on('message', take).on('close', fail)
    if (missing === 0) done()
  })
}

async function client (url, ca) {
  const open = async () => {
    const socket = new WebSocket(url, ca ? { ca: readFileSync(ca) } : {})
    await once(socket, 'open')
    return socket
  }
  const closed = async socket => (await once(socket, 'close'))[0]

  let socket = await open()
  for (const size of SIZES) {
    const data = randomBytes(size)
    const answer = receive(socket, size)
    socket.send(data)
    tell({ check: 'echo', ok: data.equals(await answer), detail: `${size} bytes` })
  }
  const data = randomBytes(200000)
  const answer = receive(socket, data.length)
  socket.send(data.subarray(0, 1), { fin: false })
  socket.send(Buffer.alloc(0), { fin: false })
  socket.send(data.subarray(1, 70000), { fin: false })
  socket.send(data.subarray(70000), { fin: true })
  tell({ check: 'fragments', ok: data.equals(await answer) })
  socket.ping('p'.repeat(125))
  const [pong] = await once(socket, 'pong')
  tell({ check: 'ping', ok: pong.toString() === 'p'.repeat(125) })
  socket.close(1000)
  let code = await closed(socket)
  tell({ check: 'close 1000', ok: code === 1000, detail: code })

  socket = await open()
  socket.close(4000, 'bye')
  code = await closed(socket)
  tell({ check: 'close 4000', ok: code === 4000, detail: code })

  socket = await open()
  socket.send('text')
  code = await closed(socket)
  tell({ check: 'text 1003', ok: code === 1003, detail: code })
}

async function server (chain, key) {
  const listener = chain
    ? https.createServer({ cert: readFileSync(chain), key: readFileSync(key) })
    : http.createServer()
  new WebSocketServer({ server: listener }).on('connection', (socket, request) => {
    const path = request.url
    let pong = null
    socket.on('error', () => {})
    socket.on('close', code => tell({ path, pong, code }))
    switch (path) {
      case '/echo':
        socket.on('pong', data => { pong = data.toString() === 'p'.repeat(125) })
        socket.ping('p'.repeat(125))
        socket.on('message', data => socket.send(data))
        break
      case '/sizes':
        for (const size of SIZES) socket.send(pattern(size))
        socket.send('one ', { binary: true, fin: false })
        socket.send('', { binary: true, fin: false })
        socket.send('message', { binary: true, fin: true })
        socket.close(1000)
        break
      case '/bye':
        socket.close(4000, 'bye')
        break
      case '/text':
        socket.send('text')
    }
  })
  listener.listen(0, '127.0.0.1', () => tell({ port: listener.address().port }))
}

const [role, ...args] = process.argv.slice(2)
await { client, server }[role](...args)
