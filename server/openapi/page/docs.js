// Renders openapi.json. Everything goes into the page as text, nothing as HTML.

/** el makes an element. */
function el(tag, attrs, ...children) {
  const e = document.createElement(tag)
  for (const [k, v] of Object.entries(attrs ?? {})) e.setAttribute(k, v)
  e.append(...children)
  return e
}

/** prose makes a paragraph in which `this` is code. */
function prose(text) {
  return el('p', {}, ...text.split('`').map((piece, i) => (i % 2 ? el('code', {}, piece) : piece)))
}

const methods = ['get', 'post', 'put', 'patch', 'delete', 'options']

/** resolve follows a reference inside of the document. */
function resolve(doc, node) {
  for (let i = 0; node?.$ref && i < 10; i++) {
    node = node.$ref.slice(2).split('/').reduce((n, key) => n?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], doc)
  }
  return node ?? {}
}

/** typeOf puts a schema into one line. */
function typeOf(doc, schema, depth = 0) {
  if (!schema) return ''
  if (schema.$ref && depth > 3) return schema.$ref.split('/').pop()
  const s = resolve(doc, schema)
  if ('const' in s) return JSON.stringify(s.const)
  if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(' | ')
  for (const key of ['anyOf', 'oneOf', 'allOf']) {
    if (s[key]) return s[key].map((x) => typeOf(doc, x, depth + 1)).join(key === 'allOf' ? ' & ' : ' | ')
  }
  const type = [s.type ?? 'any'].flat().join(' | ')
  if (s.items) return `array of ${typeOf(doc, s.items, depth + 1)}`
  return type
}

/** fields lists the properties of an object, or of the items of an array. */
function fields(doc, schema) {
  let s = resolve(doc, schema)
  if (s.items) s = resolve(doc, s.items)
  if (!s.properties) return null
  const table = el('table', {}, el('tr', {}, el('th', {}, 'field'), el('th', {}, 'type'), el('th', {}, '')))
  for (const [name, p] of Object.entries(s.properties)) {
    const must = s.required?.includes(name) ? '' : ' (may be missing)'
    table.append(el('tr', {}, el('td', {}, el('code', {}, name)), el('td', {}, typeOf(doc, p) + must), el('td', {}, resolve(doc, p).description ?? '')))
  }
  return table
}

/** tryIt makes the form that sends a GET. */
function tryIt(path, parameters) {
  const form = el('form', {})
  const inputs = parameters.map((p) => {
    const input = el('input', { name: p.name, ...(p.required ? { required: '' } : {}) })
    form.append(el('label', {}, `${p.name} `, input, p.description ? ` ${p.description}` : ''))
    return [p, input]
  })
  const out = el('div', { 'aria-live': 'polite' })
  form.append(el('button', { type: 'submit' }, 'Try it'))
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    let url = path
    const query = new URLSearchParams()
    for (const [p, input] of inputs) {
      if (p.in === 'path') url = url.replace(`{${p.name}}`, encodeURIComponent(input.value))
      else if (input.value !== '') query.set(p.name, input.value)
    }
    if (query.size > 0) url += `?${query}`
    out.replaceChildren(el('p', {}, `GET ${url} …`))
    try {
      const answer = await fetch(url, { headers: { 'X-Requested-With': 'docs' } })
      const type = answer.headers.get('Content-Type') ?? ''
      const head = el('p', {}, `${answer.status} ${answer.statusText} ${type}`)
      if (type.startsWith('image/')) {
        const img = el('img', { alt: `the picture of ${url}` })
        img.src = URL.createObjectURL(await answer.blob())
        img.addEventListener('load', () => URL.revokeObjectURL(img.src))
        out.replaceChildren(head, img)
        return
      }
      let text = await answer.text()
      if (type.includes('json')) text = JSON.stringify(JSON.parse(text), null, 2)
      out.replaceChildren(head, el('pre', { tabindex: '0' }, text))
    } catch (error) {
      out.replaceChildren(el('p', {}, `It did not work: ${error}`))
    }
  })
  return el('div', {}, form, out)
}

function operation(doc, path, method, op, shared) {
  const parameters = [...shared, ...(op.parameters ?? [])].map((p) => resolve(doc, p))
  const body = el('div', {})
  const name = op['x-websocket'] ? 'WS' : method.toUpperCase()
  if (op.description) body.append(prose(op.description))
  body.append(el('p', {}, `Permission: ${op['x-permission'] ?? '?'}`))
  for (const [who, list] of Object.entries(op['x-messages'] ?? {})) {
    body.append(el('p', {}, `The ${who} sends:`), el('pre', {}, list.join('\n')))
  }
  const request = resolve(doc, op.requestBody).content ?? {}
  for (const [type, media] of Object.entries(request)) {
    body.append(el('h3', {}, `Body: ${type}`), fields(doc, media.schema) ?? typeOf(doc, media.schema))
  }
  for (const [status, r] of Object.entries(op.responses ?? {})) {
    const response = resolve(doc, r)
    if (status === 'default') continue
    body.append(el('h3', {}, `${status}: ${response.description}`))
    for (const [type, media] of Object.entries(response.content ?? {})) {
      body.append(el('p', {}, `${type}: ${typeOf(doc, media.schema)}`))
      const table = fields(doc, media.schema)
      if (table) body.append(table)
    }
  }
  if (method === 'get' && !op['x-websocket'] && !op['x-endless']) body.append(tryIt(path, parameters))
  return el('details', {},
    el('summary', {}, el('span', { class: 'method' }, name), el('code', { class: 'path' }, path), ' ', el('span', { class: 'what' }, op.summary ?? '')), body)
}

async function main() {
  const all = document.getElementById('all')
  try {
    const answer = await fetch('../openapi.json')
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`)
    const doc = await answer.json()
    all.replaceChildren(...doc.info.description.split('\n\n').map(prose))
    for (const tag of doc.tags) {
      const section = el('section', {}, el('h2', {}, tag['x-title'] ?? tag.name), el('p', {}, tag.description ?? ''))
      for (const [path, ref] of Object.entries(doc.paths)) {
        const item = resolve(doc, ref)
        for (const method of methods) {
          const op = item[method]
          if (op?.tags?.includes(tag.name)) section.append(operation(doc, path, method, op, item.parameters ?? []))
        }
      }
      if (section.querySelector('details')) all.append(section)
    }
  } catch (error) {
    all.replaceChildren(el('p', {}, `The description could not be loaded: ${error}`))
  }
}

await main()
