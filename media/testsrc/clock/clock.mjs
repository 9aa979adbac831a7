// Reads and draws the clock that package clock draws into the top of a picture;
// the layout is described there.

const COLUMNS = 40
const CRC_BITS = 6
const SPAN = 2 ** (COLUMNS - CRC_BITS)
const MIN_CONTRAST = 50

function crc(bits) {
  let r = 2 ** CRC_BITS - 1
  for (const bit of bits) {
    const top = (r >> (CRC_BITS - 1)) ^ bit
    r = (r << 1) & (2 ** CRC_BITS - 1)
    if (top) r ^= 0b000011
  }
  return r
}

function sample({ data, width, height }, proportion) {
  const bw = width / COLUMNS
  const bh = bw * proportion
  if (Math.floor(2 * bh) > height) return null
  const mean = (x, y) => {
    let sum = 0
    for (let j = -1; j <= 1; j++) {
      for (let i = -1; i <= 1; i++) {
        const o = 4 * (Math.floor(y + (j * bw) / 6) * width + Math.floor(x + (i * bw) / 6))
        sum += 0.299 * data[o] + 0.587 * data[o + 1] + 0.114 * data[o + 2]
      }
    }
    return sum / 9
  }
  const bits = []
  for (let i = 0; i < COLUMNS; i++) {
    const d = mean((i + 0.5) * bw, bh * 0.5) - mean((i + 0.5) * bw, bh * 1.5)
    if (Math.abs(d) < MIN_CONTRAST) return null
    bits.push(d > 0 ? 1 : 0)
  }
  return bits
}

/**
 * Only the top of the picture is needed: width / 10 rows are always enough.
 * @param {{data: Uint8ClampedArray, width: number, height: number}} image RGBA, as getImageData returns it
 * @param {number} near unix time in ms; the answer is the fitting instant nearest to it
 * @returns {number | null} unix time in ms, null when there is no readable clock
 */
export function readClock(image, near = Date.now()) {
  if (image.width < 2 * COLUMNS) return null
  for (const proportion of [1, 1.4, 2]) {
    const bits = sample(image, proportion)
    if (!bits) continue
    const number = (part) => part.reduce((n, bit) => n * 2 + bit, 0)
    const payload = bits.slice(0, -CRC_BITS)
    if (crc(payload) !== number(bits.slice(-CRC_BITS))) continue
    return near + ((((number(payload) - near) % SPAN) + 1.5 * SPAN) % SPAN) - SPAN / 2
  }
  return null
}

/**
 * Draws the clock into the top of a picture whose width is a multiple of 40.
 * @param {{fillStyle: string, fillRect: (x: number, y: number, w: number, h: number) => void}} ctx a 2D context
 * @param {number} width of the picture in pixels
 * @param {number} time unix time in ms
 */
export function drawClock(ctx, width, time) {
  const side = width / COLUMNS
  const payload = []
  for (let i = 0, n = Math.floor(time) % SPAN; i < COLUMNS - CRC_BITS; i++, n = Math.floor(n / 2)) payload.unshift(n % 2)
  const sum = crc(payload)
  const bits = payload
  for (let i = CRC_BITS - 1; i >= 0; i--) bits.push((sum >> i) & 1)
  ctx.fillStyle = '#000'
  ctx.fillRect(0, 0, width, 2 * side)
  ctx.fillStyle = '#fff'
  bits.forEach((bit, i) => ctx.fillRect(i * side, bit ? 0 : side, side, side))
}
