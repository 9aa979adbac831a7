// Walks through the pages as somebody with a keyboard or a screen reader would,
// and prints what is in his way. One JSON object on stdout:
//
//   {"pages":[{"page":"/settings dark 360 de","findings":["color-contrast: …"]}],"checks":123}
//
// Without findings it exits with 0, with some with 1, and with 2 when it could
// not look. From the environment: PLAYWRIGHT and AXE (their entry files),
// CHROMIUM, and BASE, the server with ?token= of an administrator. Arguments
// are the paths to look at; those below without any.
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const { PLAYWRIGHT, AXE, CHROMIUM, BASE } = process.env

// WCAG 2.2 A and AA, and what axe knows to be good practice.
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const PATHS = ['/', '/settings', '/cameras/new?kind=ip', '/cameras/new?kind=usb', '/cameras/new?kind=camwire', '/sign-in', '/kiosk/other?me=here', '/portal/nobody?send=0', '/nothing/here']
// Each of light and dark, narrow and wide, English and German comes up at least once.
const WAYS = [
  { width: 360, height: 740, colorScheme: 'dark', locale: 'de-DE' },
  { width: 1280, height: 800, colorScheme: 'light', locale: 'en-US' },
]
// More stops than this no page has; a walk that is longer goes in circles.
const STOPS = 150

// What a thumb or a cursor must be able to hit (WCAG 2.5.8), in CSS pixels.
const TARGET = 24

// In the page: what is wrong with where the focus is, or null at the end.
const look = ({ target }) => {
  const e = document.activeElement
  if (!e || e === document.body || e === document.documentElement) return null
  const name = e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent || e.getAttribute('title') || ''
  const place = `${e.tagName.toLowerCase()}${e.id ? '#' + e.id : ''} "${name.trim().replace(/\s+/g, ' ').slice(0, 40)}"`
  const wrong = []
  if (name.trim() === '' && !e.getAttribute('aria-labelledby') && !e.getAttribute('aria-describedby')) wrong.push('has no name')
  // A radio or checkbox may lie unseen in a label that is drawn in its place.
  const shown = e.closest('label') ?? e
  const box = shown.getBoundingClientRect()
  if (box.width < target || box.height < target) {
    // Links within a sentence are as high as the line.
    if (getComputedStyle(shown).display !== 'inline') wrong.push(`is ${Math.round(box.width)}×${Math.round(box.height)} pixels small`)
  }
  if (box.bottom < 0 || box.top > innerHeight || box.right < 0 || box.left > innerWidth) wrong.push('has the focus out of sight')
  const ring = [e, shown].some((x) => {
    const s = getComputedStyle(x)
    return (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none'
  })
  if (!ring) wrong.push('does not show the focus')
  // The same element twice in a row of tabs means that the way is at its end.
  e.dataset.a11ySeen = String(Number(e.dataset.a11ySeen ?? 0) + 1)
  return { place, wrong, again: e.dataset.a11ySeen !== '1' }
}

// In the page: the next Tab goes to its first stop.
const toTheTop = () => {
  for (const e of document.querySelectorAll('[data-a11y-seen]')) delete e.dataset.a11ySeen
  const dialog = document.querySelector('dialog:modal')
  if (dialog) {
    // It has put the focus where it wants it, and the walk begins behind that.
    if (dialog.contains(document.activeElement)) document.activeElement.dataset.a11ySeen = '0'
    return
  }
  document.activeElement?.blur()
  document.body.tabIndex = -1
  document.body.focus({ preventScroll: true })
  document.body.removeAttribute('tabindex')
}

// In the page, after a walk: what can be used and was not come by.
const missed = () => {
  const room = document.querySelector('dialog:modal') ?? document
  const name = (e) => (e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent || '').trim().replace(/\s+/g, ' ').slice(0, 40)
  return [...room.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
    .filter((e) => e.tabIndex >= 0 && !e.disabled && !e.closest('[inert]') && e.dataset.a11ySeen === undefined)
    .filter((e) => e.getClientRects().length > 0 && e.checkVisibility({ visibilityProperty: true }))
    // Of a group of radio buttons one is a stop, arrows lead to the others.
    .filter((e) => e.type !== 'radio' || ![...room.querySelectorAll('input[type=radio][data-a11y-seen]')].some((r) => r.name === e.name))
    .map((e) => `${e.tagName.toLowerCase()} "${name(e)}"`)
}

/** Goes through a page by Tab, from its top, and returns what is wrong on the way. */
export async function walk(page) {
  const findings = []
  let stops = 0
  await page.evaluate(toTheTop)
  for (; stops < STOPS; stops++) {
    await page.keyboard.press('Tab')
    const at = await page.evaluate(look, { target: TARGET })
    if (!at || at.again) break
    findings.push(...at.wrong.map((w) => `keyboard: ${at.place} ${w}`))
  }
  if (stops === STOPS) findings.push(`keyboard: more than ${STOPS} stops`)
  else findings.push(...(await page.evaluate(missed)).map((e) => `keyboard: ${e} is not reached`))
  return { findings, stops }
}

/** Waits until nothing has been added to a page for so many ms: it stands. Ten seconds at most. */
export async function settle(page, quiet) {
  await page.evaluate((quiet) => new Promise((done) => {
    let timer = setTimeout(done, quiet)
    new MutationObserver(() => {
      clearTimeout(timer)
      timer = setTimeout(done, quiet)
    }).observe(document.body, { childList: true, subtree: true })
    setTimeout(done, 10_000)
  }), quiet)
}

/** Lets axe look at a page and returns what it found, in one line each. */
export async function inspect(page, axe) {
  await page.evaluate(`${axe}; undefined`)
  const { violations, passes } = await page.evaluate((tags) => window.axe.run(document, { runOnly: tags, resultTypes: ['violations'] }), TAGS)
  const findings = violations.flatMap((v) => v.nodes.map((n) => {
    const why = (n.any[0] ?? n.all[0] ?? n.none[0])?.message ?? v.help
    return `${v.id}: ${n.target.join(' ')}: ${why}`
  }))
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  // WCAG 1.4.10: nothing to be scrolled sideways.
  if (wide > 0) findings.push(`reflow: the page is ${wide} pixels too wide`)
  return { findings, checks: passes.length + violations.length }
}

/** Looks at all paths in all ways with a browser of Playwright's. */
export async function audit(browser, { base, axe, paths = PATHS, ways = WAYS }) {
  const pages = []
  let checks = 0
  for (const { width, height, colorScheme, locale } of ways) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, locale, reducedMotion: 'reduce', ignoreHTTPSErrors: true })
    const page = await context.newPage()
    // Signs the browser in.
    await page.goto(base, { waitUntil: 'domcontentloaded' })
    for (const path of paths) {
      const said = []
      const listen = (m) => m.type() === 'error' && !/Failed to load resource/.test(m.text()) && said.push(`console: ${m.text()}`)
      const crash = (e) => said.push(`console: uncaught ${e.message}`)
      page.on('console', listen)
      page.on('pageerror', crash)
      await page.goto(new URL(path, base).href, { waitUntil: 'domcontentloaded' })
      await page.waitForSelector('h1', { state: 'attached', timeout: 30_000 })
      await settle(page, 700)
      const seen = await inspect(page, axe)
      const walked = await walk(page)
      page.off('console', listen)
      page.off('pageerror', crash)
      checks += seen.checks + walked.stops
      const findings = [...new Set([...said, ...seen.findings, ...walked.findings])]
      pages.push({ page: `${path} ${colorScheme} ${width} ${locale.slice(0, 2)}`, findings })
    }
    await context.close()
  }
  return { pages, checks }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  let code = 2
  try {
    const { chromium } = await import(pathToFileURL(PLAYWRIGHT).href)
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--mute-audio'],
    })
    try {
      const paths = process.argv.length > 2 ? process.argv.slice(2) : PATHS
      const report = await audit(browser, { base: BASE, axe: readFileSync(AXE, 'utf8'), paths })
      console.log(JSON.stringify(report, null, 1))
      code = report.pages.some((p) => p.findings.length > 0) ? 1 : 0
    } finally {
      await browser.close()
    }
  } catch (e) {
    console.error(e?.stack ?? e)
  }
  process.exit(code)
}
