// Measures in a real browser. Reads one job per line from stdin, answers one
// line each:
//   {"kind":"delay","page":URL,"whep":URL,"seconds":20}
//   {"kind":"join","page":URL,"whep":URL,"times":10}
//   {"kind":"mjpeg","page":URL,"url":URL,"seconds":10}
//   {"kind":"publish","page":URL,"whip":URL,"whep":URL,"seconds":20,"times":5}
//   {"kind":"call","page":URL,"seconds":20,"times":5}
//   {"kind":"visit","page":URL,"url":URL,"tile":"a.tile","picture":"video","times":5}
import { chromium } from '../../../frontend/node_modules/playwright-core/index.mjs'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const clock = readFileSync(new URL('../../../media/testsrc/clock/clock.mjs', import.meta.url), 'utf8')
  .replace('export function readClock', 'window.readClock = function readClock')
  .replace('export function drawClock', 'window.drawClock = function drawClock')

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
    // Two pages that call each other directly need their addresses, on a
    // machine without a network those of the loopback too.
    '--disable-features=WebRtcHideLocalIpsWithMdns', '--allow-loopback-in-peer-connection'],
})

// Runs in the page.
const tools = () => {
  window.watch = async (whep) => {
    const pc = new RTCPeerConnection()
    const video = document.createElement('video')
    Object.assign(video, { muted: true, autoplay: true, playsInline: true })
    document.body.replaceChildren(video)
    pc.addTransceiver('video', { direction: 'recvonly' })
    pc.ontrack = (e) => { video.srcObject = new MediaStream([e.track]) }
    await pc.setLocalDescription()
    const res = await fetch(whep, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp })
    if (!res.ok) throw new Error(await res.text())
    await pc.setRemoteDescription({ type: 'answer', sdp: await res.text() })
    return { pc, video }
  }
  // A camera of 720p30 with the clock in it, drawn as it is taken.
  window.camera = () => {
    const c = Object.assign(document.createElement('canvas'), { width: 1280, height: 720 })
    const g = c.getContext('2d')
    const track = c.captureStream(0).getVideoTracks()[0]
    let n = 0
    const draw = () => {
      g.fillStyle = '#456'
      g.fillRect(0, 0, 1280, 720)
      g.fillStyle = '#fc3'
      g.fillRect((n++ * 7) % 1280, 400, 160, 160)
      drawClock(g, 1280, performance.timeOrigin + performance.now())
      track.requestFrame()
    }
    window.drawing = setInterval(draw, 1000 / 30)
    return track
  }
  window.sender = () => {
    window.pc = new RTCPeerConnection()
    const t = pc.addTransceiver(camera(), { direction: 'sendonly', sendEncodings: [{ maxBitrate: 2500000 }] })
    // H264 of both sides, as a phone sends it.
    const list = RTCRtpReceiver.getCapabilities('video').codecs
    t.setCodecPreferences([...list.filter((c) => c.mimeType === 'video/H264'), ...list.filter((c) => c.mimeType !== 'video/H264')])
    return pc
  }
  window.gathered = (pc) => new Promise((done) => {
    if (pc.iceGatheringState === 'complete') done()
    pc.addEventListener('icegatheringstatechange', () => { if (pc.iceGatheringState === 'complete') done() })
  })
  window.hangUp = () => { clearInterval(window.drawing); window.pc?.close() }
  // Ages of the pictures of a video, from the moment that it is live.
  window.ages = async (video, seconds) => {
    const out = []
    const from = performance.now()
    await new Promise((done) => {
      const each = (now, meta) => {
        const at = performance.timeOrigin + meta.presentationTime
        if (now - from > 5000) { // the sender has found its rate
          const a = age(video, video.videoWidth, at)
          if (a !== null) out.push(a)
        }
        if (now - from > 5000 + seconds * 1000) done()
        else video.requestVideoFrameCallback(each)
      }
      video.requestVideoFrameCallback(each)
    })
    return out
  }
  const canvas = document.createElement('canvas')
  const ctx = canvas.getContext('2d', { willReadFrequently: true })
  // The age of the picture on screen, in ms, by the clock that is in it.
  window.age = (image, w, at) => {
    canvas.width = w
    canvas.height = Math.ceil(w / 10)
    ctx.drawImage(image, 0, 0, w, canvas.height, 0, 0, w, canvas.height)
    const t = window.readClock(ctx.getImageData(0, 0, w, canvas.height))
    return t === null ? null : at - t
  }
}

const jobs = {
  async delay(page, { whep, seconds }) {
    return page.evaluate(async ({ whep, seconds }) => {
      const { pc, video } = await watch(whep)
      const ages = []
      await new Promise((done) => {
        const from = performance.now()
        const each = (now, meta) => {
          // When the compositor was handed the frame, not when this runs.
          const at = performance.timeOrigin + meta.presentationTime
          if (now - from > 3000) {
            const a = age(video, video.videoWidth, at)
            if (a !== null) ages.push(a)
          }
          if (now - from > seconds * 1000) done()
          else video.requestVideoFrameCallback(each)
        }
        video.requestVideoFrameCallback(each)
      })
      pc.close()
      return ages
    }, { whep, seconds })
  },
  async join(page, { whep, times }) {
    const out = []
    for (let i = 0; i < times; i++) {
      await page.waitForTimeout(300 + Math.random() * 1500)
      out.push(await page.evaluate(async (whep) => {
        const t0 = performance.now()
        const { pc, video } = await watch(whep)
        const first = await new Promise((done) => video.requestVideoFrameCallback((now) => done(now - t0)))
        // Live: the first picture younger than 150 ms.
        const live = await new Promise((done) => {
          const each = (now, meta) => {
            const a = age(video, video.videoWidth, performance.timeOrigin + meta.presentationTime)
            if ((a !== null && a < 150) || now - t0 > 5000) done(now - t0)
            else video.requestVideoFrameCallback(each)
          }
          video.requestVideoFrameCallback(each)
        })
        pc.close()
        return { first, live }
      }, whep))
    }
    return out
  },
  // Two pages with the server between them.
  async publish(page, { whip, whep, seconds, times }) {
    return twoPages(page, async (a, b) => {
      const joins = []
      let seen = []
      for (let i = 0; i < times; i++) {
        await a.evaluate(async (url) => {
          const pc = sender()
          await pc.setLocalDescription()
          await gathered(pc)
          const res = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp })
          if (!res.ok) throw new Error(await res.text())
          window.session = res.headers.get('Location')
          await pc.setRemoteDescription({ type: 'answer', sdp: await res.text() })
        }, whip + '?takeover=1')
        await b.waitForTimeout(1500 + Math.random() * 1000)
        joins.push(await b.evaluate(async (url) => {
          const t0 = performance.now()
          const { pc, video } = await watch(url)
          window.viewer = { pc, video }
          return new Promise((done) => video.requestVideoFrameCallback((now) => done(now - t0)))
        }, whep))
        if (i === times - 1) seen = await b.evaluate((s) => ages(viewer.video, s), seconds)
        await b.evaluate(() => viewer.pc.close())
        await a.evaluate(async () => { hangUp(); await fetch(session, { method: 'DELETE' }) })
      }
      return { ages: seen, joins }
    })
  },
  // The same two pages without a server: they only exchange their descriptions.
  async call(page, { seconds, times }) {
    return twoPages(page, async (a, b) => {
      const joins = []
      let seen = []
      for (let i = 0; i < times; i++) {
        const began = await b.evaluate(() => performance.now())
        const offer = await a.evaluate(async () => {
          const pc = sender()
          await pc.setLocalDescription()
          await gathered(pc)
          return pc.localDescription.sdp
        })
        const answer = await b.evaluate(async (sdp) => {
          const pc = new RTCPeerConnection()
          const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true, playsInline: true })
          document.body.replaceChildren(video)
          pc.ontrack = (e) => { video.srcObject = new MediaStream([e.track]) }
          window.viewer = { pc, video }
          await pc.setRemoteDescription({ type: 'offer', sdp })
          await pc.setLocalDescription()
          await gathered(pc)
          return pc.localDescription.sdp
        }, offer)
        await a.evaluate((sdp) => pc.setRemoteDescription({ type: 'answer', sdp }), answer)
        joins.push(await b.evaluate((t0) => new Promise((done) => viewer.video.requestVideoFrameCallback((now) => done(now - t0))), began))
        if (i === times - 1) seen = await b.evaluate((s) => ages(viewer.video, s), seconds)
        await b.evaluate(() => viewer.pc.close())
        await a.evaluate(() => hangUp())
      }
      return { ages: seen, joins }
    })
  },
  // First visits of a phone that has never been there, and the next visit of each.
  async visit(_page, { url, tile, picture, times }) {
    const first = []
    const next = []
    for (let i = 0; i < times; i++) {
      const context = await browser.newContext(PHONE)
      const page = await context.newPage()
      await page.addInitScript(stopwatch, { tile, picture })
      const cdp = await context.newCDPSession(page)
      await cdp.send('Network.enable')
      await cdp.send('Network.emulateNetworkConditions', SLOW_NETWORK)
      await cdp.send('Emulation.setCPUThrottlingRate', { rate: SLOW_CPU })
      for (const list of [first, next]) {
        await page.goto(url, { waitUntil: 'commit' })
        await page.waitForFunction((picture) => reached.tile && (!picture || reached.picture), picture, { timeout: 60_000 })
        const reached = await page.evaluate(() => window.reached)
        list.push({ ...reached, ...(await page.evaluate(cameBy, reached.tile)) })
        // What the page keeps for the next time it fetches when it is at rest.
        await page.waitForLoadState('networkidle', { timeout: 30_000 }).catch(() => undefined)
        await page.waitForTimeout(1000)
      }
      await context.close()
    }
    return { first, next }
  },
  async mjpeg(page, { url, seconds }) {
    return page.evaluate(async ({ url, seconds }) => {
      const img = new Image()
      document.body.replaceChildren(img)
      img.src = url
      const ages = []
      let last = null
      const end = performance.now() + seconds * 1000
      while (performance.now() < end) {
        await new Promise(requestAnimationFrame)
        if (!img.naturalWidth) continue
        const a = age(img, img.naturalWidth, performance.timeOrigin + performance.now())
        const stamp = a === null ? null : Math.round(performance.timeOrigin + performance.now() - a)
        if (stamp !== null && (last === null || Math.abs(stamp - last) > 3)) { ages.push(a); last = stamp }
      }
      img.src = ''
      return ages
    }, { url, seconds })
  },
}

// A phone of the cheaper kind on a slow mobile network: what Lighthouse takes
// for it, with the round trip as DevTools has it, added to each request.
const SLOW_CPU = 4
const SLOW_NETWORK = { offline: false, latency: 150, downloadThroughput: 1.6e6 / 8, uploadThroughput: 0.75e6 / 8 }
const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 3, isMobile: true, hasTouch: true }

// Runs in the page before anything of its own, and notes in ms from the
// navigation when the tile can be used and when a picture is in it.
const stopwatch = ({ tile, picture }) => {
  window.reached = {}
  const note = (what, selector, usable) => {
    if (what in window.reached || !document.body) return
    const e = document.querySelector(selector)
    if (!e || (usable && !usable(e))) return
    window.reached[what] = null
    // It is there for whoever looks after the next frame, and answers to a
    // touch when the work that put it there is over.
    requestAnimationFrame(() => setTimeout(() => { window.reached[what] = performance.now() }))
  }
  const atTop = (e) => {
    const { left, top, width, height } = e.getBoundingClientRect()
    const hit = width > 0 && document.elementFromPoint(left + width / 2, top + Math.min(height, innerHeight - top) / 2)
    return !!hit && (hit === e || e.contains(hit))
  }
  const look = () => {
    note('tile', tile, atTop)
    if (picture) note('picture', picture)
    const { reached } = window
    if (!reached.tile || (picture && !reached.picture)) requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
}

// In the page: what had come until then.
const cameBy = (at) => {
  const came = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter((e) => e.responseEnd > 0 && e.responseEnd <= at)
  return { bytes: came.reduce((sum, e) => sum + e.transferSize, 0), requests: came.length }
}

// A second page, in a window of its own: one that is hidden is slowed down.
async function twoPages(b, work) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 720 } })
  const a = await context.newPage()
  try {
    await prepare(a, b.url())
    return await work(a, b)
  } finally {
    await context.close()
  }
}

async function prepare(page, url) {
  await page.goto(url)
  await page.evaluate(clock)
  await page.evaluate(tools)
}

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line)
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } })
  try {
    await prepare(page, job.page)
    console.log(JSON.stringify({ result: await jobs[job.kind](page, job) }))
  } catch (e) {
    console.log(JSON.stringify({ error: String(e) }))
  }
  await page.close()
}
await browser.close()
