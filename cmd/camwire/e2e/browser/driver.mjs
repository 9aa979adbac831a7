// The browser of the end-to-end tests. One request per line on stdin, one
// answer per line on stdout, in whatever order the answers come:
//
//   {"id":1,"do":"open","url":"…","init":["script", …],"screen":{"width":360,"height":740,"dark":true,"locale":"de-DE","still":true}}
//                                                         -> {"id":1,"result":<page>}
//   {"id":2,"do":"eval","page":1,"call":"(arg) => …","arg":…} -> {"id":2,"result":…}
//   {"id":3,"do":"log","page":1}                          -> what the page said on its console
//   {"id":4,"do":"close","page":1}
//   {"id":5,"do":"press","page":1,"keys":["Tab", …]}
//   {"id":6,"do":"cdp","page":1,"method":"Page.…","params":{…}} -> what the Chrome DevTools protocol answers
//   {"id":7,"do":"goto","page":1,"url":"…"}
//   {"id":8,"do":"inspect","page":1}                      -> {"findings":[…],"checks":…}, see a11y.mjs
//   {"id":9,"do":"walk","page":1}                         -> {"findings":[…],"stops":…}
//
// An answer with "error" instead of "result" is a failure. The browser ends
// with stdin. Each page has a context of its own: cookies are not shared.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { inspect, settle, walk } from './a11y.mjs'

const { PLAYWRIGHT, AXE, CLOCK, CHROMIUM, CAMERA } = process.env
const { chromium } = await import(pathToFileURL(PLAYWRIGHT).href)

// Modules cannot be injected before a page's own scripts; of this one only the
// reader is used.
const clock = readFileSync(CLOCK, 'utf8').replace('export function readClock', 'window.readClock = function readClock')
  .replace('export function', 'function')
const tools = readFileSync(new URL('tools.js', import.meta.url), 'utf8')

let axeText = ''
const axe = () => (axeText ||= readFileSync(AXE, 'utf8'))

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--mute-audio',
    '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-video-capture=${CAMERA}`],
  handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false,
})

const pages = new Map()
let last = 0

const page = (id) => {
  const p = pages.get(id)
  if (!p) throw new Error(`no page ${id}`)
  return p
}

const commands = {
  async open({ url, init = [], screen: { width = 800, height = 600, dark = false, locale = 'en-US', still = false } = {} }) {
    const context = await browser.newContext({
      viewport: { width, height }, locale, colorScheme: dark ? 'dark' : 'light', reducedMotion: still ? 'reduce' : 'no-preference',
    })
    // A page of the server's own origin with nothing of the server's in it.
    await context.route((u) => u.pathname === '/e2e', (route) => route.fulfill({
      contentType: 'text/html', body: '<!doctype html><meta charset="utf-8"><title>e2e</title><body></body>',
    }))
    for (const content of [`{${clock}}`, tools, ...init]) await context.addInitScript({ content })
    const p = await context.newPage()
    const log = []
    const note = (line) => {
      log.push(`${new Date().toISOString().slice(11, 23)} ${line}`)
      if (log.length > 200) log.shift()
    }
    p.on('console', (m) => note(`${m.type()}: ${m.text()}`))
    p.on('pageerror', (e) => note(`uncaught: ${e}`))
    p.on('crash', () => note('the page crashed'))
    const id = ++last
    pages.set(id, { p, context, log })
    await p.goto(url, { waitUntil: 'domcontentloaded' })
    return id
  },
  async eval({ page: id, call, arg }) {
    return await page(id).p.evaluate(`(${call})(${JSON.stringify(arg ?? null)})`)
  },
  async press({ page: id, keys }) {
    for (const key of keys) await page(id).p.keyboard.press(key)
    return null
  },
  async cdp({ page: id, method, params = {} }) {
    const tab = page(id)
    tab.cdp ??= await tab.context.newCDPSession(tab.p)
    return await tab.cdp.send(method, params)
  },
  async goto({ page: id, url }) {
    await page(id).p.goto(url, { waitUntil: 'domcontentloaded' })
    return null
  },
  async inspect({ page: id }) {
    await settle(page(id).p, 300)
    return await inspect(page(id).p, axe())
  },
  async walk({ page: id }) {
    return await walk(page(id).p)
  },
  async log({ page: id }) {
    return page(id).log
  },
  async close({ page: id }) {
    const { context } = page(id)
    pages.delete(id)
    await context.close()
    return null
  },
}

const answer = (a) => process.stdout.write(JSON.stringify(a) + '\n')

const run = async (line) => {
  const request = JSON.parse(line)
  try {
    answer({ id: request.id, result: (await commands[request.do](request)) ?? null })
  } catch (e) {
    answer({ id: request.id, error: String(e?.message ?? e) })
  }
}

answer({ id: 0, result: browser.version() })
createInterface({ input: process.stdin })
  .on('line', (line) => void run(line))
  .on('close', async () => {
    await browser.close()
    process.exit(0)
  })
