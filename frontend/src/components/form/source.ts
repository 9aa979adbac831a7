/** Sources of cameras as people think of them, and as Camwire writes them. Pure text work. */

export const KINDS = ['usb', 'ip', 'camwire', 'pictures', 'test', 'other'] as const;
export type Kind = (typeof KINDS)[number];

/** A network address with who asks, in the pieces that a form has. */
export interface Address {
  /** Without user and password: "rtsp://192.168.1.100/stream1". */
  readonly url: string;
  readonly user: string;
  readonly password: string;
}

/** What the server shows in place of a secret. */
export const MASK = '***';

/** The kind of a source that is configured already. */
export function kindOf(source: string): Kind {
  if (/^\d+$/.test(source) || source.startsWith('/dev/') || source.startsWith('usb:')) return 'usb';
  if (/^(rtsps?|https?):\/\//.test(source)) return 'ip';
  if (source.startsWith('whep:')) return 'camwire';
  if (source.startsWith('images:') || source.startsWith('watch:')) return 'pictures';
  return source.startsWith('test:') ? 'test' : 'other';
}

/**
 * Takes an address apart that somebody typed or pasted. Passwords are often
 * pasted as they are, with @, / or # in them, so what comes before the last @
 * of the host counts as user and password, escaped or not.
 */
export function splitAddress(typed: string): Address {
  const text = typed.trim();
  const [, scheme, rest] = /^([a-z][a-z0-9+.-]*:\/\/)(.*)$/is.exec(text) ?? [null, '', text];
  const at = userEnd(rest ?? '');
  if (at < 0) return { url: text, user: '', password: '' };
  const who = (rest ?? '').slice(0, at);
  const colon = who.indexOf(':');
  return {
    url: (scheme ?? '') + (rest ?? '').slice(at + 1),
    user: unescape(colon < 0 ? who : who.slice(0, colon)),
    password: colon < 0 ? '' : unescape(who.slice(colon + 1)),
  };
}

/** The place of the @ after user and password, or -1. */
function userEnd(rest: string): number {
  const authority = /^[^/?#]*/.exec(rest)?.[0] ?? '';
  const at = authority.lastIndexOf('@');
  if (at >= 0) return at;
  // "admin:pa/ss@host": a port is digits, so this was a password with a slash.
  const port = /:([^:]*)$/.exec(authority)?.[1] ?? '';
  if (!authority.includes(':') || /^\d*$/.test(port) || authority.endsWith(']')) return -1;
  return rest.lastIndexOf('@');
}

function unescape(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A bare % is part of a password, not an escape.
    return text;
  }
}

/** Puts an address together again, with user and password escaped (RFC 3986 section 3.2.1). */
export function joinAddress({ url, user, password }: Address, scheme = 'rtsp'): string {
  const text = url.trim();
  if (text === '') return '';
  const [, head, rest] = /^([a-z][a-z0-9+.-]*:\/\/)(.*)$/is.exec(text) ?? [null, `${scheme}://`, text];
  if (user === '' && password === '') return `${head ?? ''}${rest ?? ''}`;
  const who = password === '' ? escape(user) : `${escape(user)}:${escape(password)}`;
  return `${head ?? ''}${who}@${rest ?? ''}`;
}

/** encodeURIComponent leaves !'()* alone, some of which shells and cameras take for their own. */
function escape(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase());
}

/** An address for eyes: a password is dots. */
export function showAddress(address: Address, scheme = 'rtsp'): string {
  const shown = joinAddress({ ...address, user: address.user && 'u', password: address.password && 'p' }, scheme);
  return shown.replace(/\/\/u?(:p)?@/, () => `//${address.user}${address.password ? ':••••' : ''}@`);
}

/** The source that reads a camera of another Camwire: "whep:https://host:8443/whep/door". */
export function joinCamwire(server: string, camera: string, token: string): string {
  let base = server.trim().replace(/\/+$/, '');
  if (base === '') return '';
  if (!/^https?:\/\//i.test(base)) base = 'https://' + base;
  return 'whep:' + joinAddress({ url: `${base}/whep/${encodeURIComponent(camera.trim())}`, user: token && 'camwire', password: token });
}

/** The pieces of a source that reads a camera of another Camwire. */
export function splitCamwire(source: string): { server: string; camera: string; token: string } {
  const { url, password } = splitAddress(source.replace(/^whep:/, ''));
  const [, server, camera] = /^(.*?)\/whep\/([^/?#]*)$/.exec(url) ?? [null, url, ''];
  return { server: server ?? '', camera: unescape(camera ?? ''), token: password };
}

const ID = /^[A-Za-z0-9_-]{1,64}$/;

export function isId(id: string): boolean {
  return ID.test(id);
}

/** An id that looks like the name and that no other camera has: "Front door" is "front_door". */
export function idFrom(name: string, taken: ReadonlySet<string>, otherwise = 'camera'): string {
  const plain = name
    .replace(/ß/g, 'ss')
    .replace(/[äöü]/gi, (c) => ({ ä: 'ae', ö: 'oe', ü: 'ue' })[c.toLowerCase()] ?? c)
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '_')
    .replace(/^_+|_+$/g, '')
    .slice(0, 56);
  const id = plain || otherwise;
  if (!taken.has(id)) return id;
  for (let n = 2; ; n++) if (!taken.has(`${id}_${n}`)) return `${id}_${n}`;
}

/** Where cameras of common makers have their stream; HOST is the camera's address. */
export const MAKERS: readonly { readonly name: string; readonly url: string }[] = [
  { name: 'Amcrest, Dahua', url: 'rtsp://HOST/cam/realmonitor?channel=1&subtype=0' },
  { name: 'Axis', url: 'rtsp://HOST/axis-media/media.amp' },
  { name: 'Hikvision, Annke', url: 'rtsp://HOST/Streaming/Channels/101' },
  { name: 'Reolink', url: 'rtsp://HOST/h264Preview_01_main' },
  { name: 'TP-Link Tapo, VIGI', url: 'rtsp://HOST/stream1' },
  { name: 'Ubiquiti UniFi', url: 'rtsps://HOST:7441/…' },
  { name: 'ESP32-CAM', url: 'http://HOST:81/stream' },
  { name: 'OctoPrint, mjpg-streamer', url: 'http://HOST/webcam/?action=stream' },
];
