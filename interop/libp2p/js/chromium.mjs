#!/usr/bin/env node
// js-libp2p in a page in headless Chromium, with the command line of the example `peer`: `dial`, as a page cannot
// listen.
//
// In place of `--ca CA.pem` it takes `--spki HASH`, the hash of the listener's public key, which needs no change to any
// store of the system.

import { once } from 'node:events'
import http from 'node:http'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { OPTIONS } from './options.mjs'

const [role, ...args] = process.argv.slice(2)
if (role !== 'dial') throw new Error('a page can only dial')
const { values: { spki, ...values }, positionals: [address] } = parseArgs({
  args, allowPositionals: true, options: { ...OPTIONS, spki: { type: 'string' } }
})

const { outputFiles: [bundle] } = await build({
  entryPoints: [new URL('dial.mjs', import.meta.url).pathname],
  bundle: true,
  format: 'iife',
  globalName: 'peer',
  platform: 'browser',
  target: 'chrome120',
  write: false
})

const site = http.createServer((_, response) => {
  response.setHeader('content-type', 'text/html').end('<title>page</title>')
})
site.listen(0, '127.0.0.1')
await once(site, 'listening')

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-component-update',
    '--disable-background-networking', '--disable-sync',
    ...(spki ? [`--ignore-certificate-errors-spki-list=${spki}`] : [])
  ]
})
let result
try {
  const page = await browser.newPage()
  page.on('console', message => console.error(message.text()))
  page.on('pageerror', error => console.error(error.stack))
  await page.goto(`http://127.0.0.1:${site.address().port}/`)
  await page.addScriptTag({ content: bundle.text })
  result = await page.evaluate(([address, values]) => peer.dial(address, values), [address, values])
} finally {
  await browser.close()
  site.close()
}
console.log(JSON.stringify(result))
process.exit(result.ok ? 0 : 1)
