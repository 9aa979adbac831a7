// What the tests do inside a page; injected before the page's own scripts.
;(() => {
  const canvas = document.createElement('canvas')
  const brush = canvas.getContext('2d', { willReadFrequently: true })

  const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

  const sizeOf = (e) => {
    if (e instanceof HTMLVideoElement) return [e.videoWidth, e.videoHeight]
    if (e instanceof HTMLImageElement) return [e.naturalWidth, e.naturalHeight]
    return [e.width, e.height]
  }

  // The first element of a selector; "a >>> b" looks for b in the shadow of a.
  const find = (selector) => selector.split(' >>> ').reduce((at, part) => (at?.shadowRoot ?? at)?.querySelector(part) ?? null, document)

  // The clock in what an element shows now: {clock, width, height}; clock is
  // unix ms, or null where there is none to read.
  const look = (selector) => {
    const e = find(selector)
    if (!e) return { clock: null, width: 0, height: 0 }
    const [width, height] = sizeOf(e)
    if (!width || !height) return { clock: null, width, height }
    const top = Math.min(height, Math.ceil(width / 10))
    canvas.width = width
    canvas.height = top
    brush.drawImage(e, 0, 0, width, top, 0, 0, width, top)
    return { clock: window.readClock(brush.getImageData(0, 0, width, top)), width, height }
  }

  // Waits until an element has shown that many different clock values in a row
  // none of which was older than maxAge ms, all of width pixels if that is
  // given: [{at, clock, width, height}]. Throws after timeout ms with the last
  // thing it saw.
  const moving = async ({ selector, distinct = 6, maxAge = 5000, timeout = 25_000, width = 0 }) => {
    const end = performance.now() + timeout
    let seen = []
    let now = null
    while (performance.now() < end) {
      now = { at: Date.now(), ...look(selector) }
      const fits = now.clock !== null && now.at - now.clock <= maxAge && (!width || now.width === width)
      if (fits) {
        if (seen.at(-1)?.clock !== now.clock) seen.push(now)
        if (seen.length >= distinct) return seen
      } else if (now.clock !== null) {
        seen = []
      }
      await sleep(20)
    }
    throw new Error(`${selector} shows no moving clock; last seen ${JSON.stringify({ ...now, age: now && now.clock && now.at - now.clock })}, ${seen.length} good ones`)
  }

  // Looks every so many ms for so long: [{at, clock, width, height}].
  const sample = async ({ selector, every = 100, duration }) => {
    const out = []
    const start = performance.now()
    for (let n = 1; performance.now() - start < duration; n++) {
      out.push({ at: Date.now(), ...look(selector) })
      await sleep(Math.max(0, start + n * every - performance.now()))
    }
    return out
  }

  const signIn = async (token) => {
    const r = await fetch('/api/session', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token }),
    })
    if (!r.ok) throw new Error(`signing in: ${r.status} ${await r.text()}`)
  }

  // Watches by plain WHEP. The connection is window.pc, the picture #video.
  // With a port the media go to that port of this machine, and nowhere else.
  const whep = async ({ url, port = 0 }) => {
    const pc = new RTCPeerConnection()
    const video = document.createElement('video')
    Object.assign(video, { id: 'video', muted: true, autoplay: true, playsInline: true })
    document.body.append(video)
    window.pc = pc
    window.states = []
    window.candidates = []
    pc.onconnectionstatechange = () => window.states.push(pc.connectionState)
    pc.onicecandidate = ({ candidate }) => candidate && window.candidates.push(candidate.toJSON())
    pc.ontrack = ({ track }) => { video.srcObject = new MediaStream([track]) }
    pc.addTransceiver('video', { direction: 'recvonly' })
    await pc.setLocalDescription()
    const offer = pc.localDescription.sdp
    const r = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: offer })
    let answer = await r.text()
    if (r.status !== 201) throw new Error(`WHEP: ${r.status} ${answer}`)
    if (port) {
      let first = true
      answer = answer.split('\r\n').flatMap((line) => {
        if (!line.startsWith('a=candidate:')) return [line]
        if (!first) return []
        first = false
        return [`a=candidate:1 1 udp 2130706431 127.0.0.1 ${port} typ host`]
      }).join('\r\n')
    }
    window.session = { location: r.headers.get('Location'), etag: r.headers.get('ETag') }
    await pc.setRemoteDescription({ type: 'answer', sdp: answer })
    return { ...window.session, offer, answer }
  }

  // Publishes the fake camera by plain WHIP. The connection is window.out.
  const whip = async ({ url, mime, audio = false, layers = [] }) => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 }, audio })
    const pc = new RTCPeerConnection()
    window.out = pc
    const sendEncodings = layers.map(({ rid, scale }) => ({ rid, scaleResolutionDownBy: scale }))
    const t = pc.addTransceiver(stream.getVideoTracks()[0], { direction: 'sendonly', sendEncodings })
    const list = RTCRtpReceiver.getCapabilities('video').codecs
    const wanted = list.filter((c) => c.mimeType === mime)
    if (!wanted.length) throw new Error(`this browser has no ${mime}`)
    t.setCodecPreferences([...wanted, ...list.filter((c) => c.mimeType === 'video/rtx')])
    if (audio) pc.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly' })
    await pc.setLocalDescription()
    const r = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp })
    const answer = await r.text()
    if (r.status !== 201) throw new Error(`WHIP: ${r.status} ${answer}`)
    await pc.setRemoteDescription({ type: 'answer', sdp: answer })
    return { location: r.headers.get('Location'), answer }
  }

  // Shows an MJPEG stream as #img.
  const img = (url) => {
    const e = new Image()
    e.id = 'img'
    e.src = url
    document.body.append(e)
  }

  // The numbers of the incoming video.
  const stats = async () => {
    const report = await window.pc.getStats()
    let out = null
    report.forEach((s) => {
      if (s.type === 'inbound-rtp' && s.kind === 'video') out = { ...s, mime: report.get(s.codecId)?.mimeType }
    })
    return out
  }

  // Notes the same every so many ms in window.series, for failures.
  const keepStats = (every) => {
    window.series = []
    setInterval(async () => {
      const s = await stats()
      if (s) window.series.push(`${new Date().toISOString().slice(14, 23)} received ${s.packetsReceived} lost ${s.packetsLost} nacks ${s.nackCount} retransmitted ${s.retransmittedPacketsReceived} plis ${s.pliCount} frames ${s.framesReceived} decoded ${s.framesDecoded} dropped ${s.framesDropped}`)
    }, every)
  }

  // What the app's player says of itself.
  const player = () => {
    const e = document.querySelector('[data-camera]')
    const text = (q) => document.querySelector(q)?.textContent?.trim() ?? ''
    return {
      camera: e?.dataset.camera ?? '', state: e?.dataset.state ?? '', rung: e?.dataset.rung ?? '',
      banner: text('.banner'), way: text('.line .rung'), why: text('.line .why'), note: text('.note'),
    }
  }

  window.e2e = { look, moving, sample, signIn, whep, whip, img, stats, keepStats, player, sleep }
})()
