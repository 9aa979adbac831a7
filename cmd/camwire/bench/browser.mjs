// Measures in a real browser. Reads one job per line from stdin, answers one
// line each:
//   {"kind":"delay","page":URL,"whep":URL,"seconds":20}
//   {"kind":"join","page":URL,"whep":URL,"times":10}
//   {"kind":"mjpeg","page":URL,"url":URL,"seconds":10}
import { chromium } from '../../../frontend/node_modules/playwright-core/index.mjs'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const clock = readFileSync(new URL('../../../media/testsrc/clock/clock.mjs', import.meta.url), 'utf8')
  .replace('export function readClock', 'window.readClock = function readClock')

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
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

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line)
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } })
  try {
    await page.goto(job.page)
    await page.evaluate(clock)
    await page.evaluate(tools)
    console.log(JSON.stringify({ result: await jobs[job.kind](page, job) }))
  } catch (e) {
    console.log(JSON.stringify({ error: String(e) }))
  }
  await page.close()
}
await browser.close()
