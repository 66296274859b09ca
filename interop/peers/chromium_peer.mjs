// A page in headless Chromium as `client URL [CA SPKI]`; what it does is told in matrix.py.
//
// The certificate is trusted by the hash of its public key (SPKI), which needs no change to any store of the system.

import { once } from 'node:events'
import http from 'node:http'
import { chromium } from 'playwright-core'

const [role, url, , spki] = process.argv.slice(2)
if (role !== 'client') throw new Error('a page can only dial')

const site = http.createServer((_, response) => response.setHeader('content-type', 'text/html').end('<title>page</title>'))
site.listen(0, '127.0.0.1')
await once(site, 'listening')

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', ...(spki ? [`--ignore-certificate-errors-spki-list=${spki}`] : [])
  ]
})
try {
  const page = await browser.newPage()
  await page.exposeFunction('tell', what => console.log(JSON.stringify(what)))
  await page.goto(`http://127.0.0.1:${site.address().port}/`)
  await page.evaluate(talk, url)
} finally {
  await browser.close()
  site.close()
}

// Runs in the page.
async function talk (url) {
  const open = () => new Promise((resolve, reject) => {
    const socket = new WebSocket(url)
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => resolve(socket)
    socket.onerror = () => reject(new Error(`cannot open ${url}`))
  })
  const closed = socket => new Promise(resolve => { socket.onclose = resolve })
  const random = length => {
    const data = new Uint8Array(length)
    // The browser gives at most 64 KiB of random bytes at a time.
    for (let at = 0; at < length; at += 65536) crypto.getRandomValues(data.subarray(at, at + 65536))
    return data
  }
  // Resolves when so many bytes have come: message boundaries mean nothing to a byte stream.
  const receive = (socket, length) => new Promise((resolve, reject) => {
    const received = new Uint8Array(length)
    let at = 0
    socket.onclose = event => reject(new Error(`closed with ${event.code}`))
    socket.onmessage = ({ data }) => {
      received.set(new Uint8Array(data), at)
      at += data.byteLength
      if (at === length) resolve(received)
    }
    if (length === 0) resolve(received)
  })

  let socket = await open()
  for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20]) {
    const data = random(size)
    const answer = receive(socket, size)
    socket.send(data)
    const received = await answer
    window.tell({ check: 'echo', ok: data.every((byte, i) => byte === received[i]), detail: `${size} bytes` })
  }
  let end = closed(socket)
  socket.close(1000)
  let { code, wasClean } = await end
  window.tell({ check: 'close 1000', ok: code === 1000 && wasClean, detail: `${code}` })

  socket = await open()
  end = closed(socket)
  socket.close(4000, 'bye');
  ({ code, wasClean } = await end)
  window.tell({ check: 'close 4000', ok: code === 4000 && wasClean, detail: `${code}` })

  socket = await open()
  end = closed(socket)
  socket.send('text');
  ({ code, wasClean } = await end)
  await window.tell({ check: 'text 1003', ok: code === 1003 && wasClean, detail: `${code}` })
}
