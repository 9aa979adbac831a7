import type { Entry, EntryChange, UsbCamera } from '../../api/entries';
import { MASK, idFrom, isId, joinAddress, joinCamwire, kindOf, splitAddress, splitCamwire } from './source';
import type { Address, Kind } from './source';

/** A camera as it stands in the form, before anybody says that it is right. */
export interface Draft {
  kind: Kind;
  name: string;
  id: string;
  usb: string;
  address: { -readonly [K in keyof Address]: Address[K] };
  server: string;
  camera: string;
  token: string;
  /** Pictures of a folder: all in turn, or each new one. */
  folder: { path: string; newest: boolean };
  /** What follows "test:". */
  test: string;
  other: string;
  transport: string;
  fingerprint: string;
  /** Numbers as typed; '' for none. */
  fps: string;
  width: string;
  height: string;
  quality: string;
  enabled: boolean;
  onDemand: boolean;
}

export const TRANSPORTS = ['tcp', 'udp', 'multicast'] as const;

export function newDraft(kind: Kind): Draft {
  return {
    kind,
    name: '',
    id: '',
    usb: '',
    address: { url: '', user: '', password: '' },
    server: '',
    camera: '',
    token: '',
    folder: { path: '', newest: false },
    test: '',
    other: '',
    transport: '',
    fingerprint: '',
    fps: '',
    width: '',
    height: '',
    quality: '',
    enabled: true,
    onDemand: false,
  };
}

/** The form of a camera that there is. Its secrets are masked, so their fields are empty. */
export function draftOf(entry: Entry): Draft {
  const draft = newDraft(kindOf(entry.source));
  const source = entry.source;
  const shown = (text: string) => (text === MASK ? '' : text);
  switch (draft.kind) {
    case 'usb':
      draft.usb = source;
      break;
    case 'ip': {
      const { url, user, password } = splitAddress(source);
      draft.address = { url, user: shown(user), password: shown(password) };
      break;
    }
    case 'camwire': {
      const { server, camera, token } = splitCamwire(source);
      Object.assign(draft, { server, camera, token: shown(token) });
      break;
    }
    case 'pictures':
      draft.folder = { path: source.slice(source.indexOf(':') + 1), newest: source.startsWith('watch:') };
      break;
    case 'test':
      draft.test = source.slice('test:'.length);
      break;
    case 'other':
      draft.other = source;
  }
  const number = (n: number) => (n === 0 ? '' : String(n));
  return {
    ...draft,
    name: entry.name,
    id: entry.id,
    transport: entry.transport,
    fingerprint: entry.fingerprint,
    fps: number(entry.fps),
    width: number(entry.width),
    height: number(entry.height),
    quality: String(entry.quality),
    enabled: entry.enabled,
    onDemand: entry.onDemand,
  };
}

/** The form of a USB camera that was found. */
export function draftOfUsb(usb: UsbCamera, taken: ReadonlySet<string>): Draft {
  return { ...newDraft('usb'), usb: usb.source, name: usb.name, id: idFrom(usb.suggestedId, taken, 'usb_cam') };
}

/** The source as Camwire writes it; '' while something is missing. */
export function sourceOf(draft: Draft): string {
  switch (draft.kind) {
    case 'usb':
      return draft.usb;
    case 'ip':
      return joinAddress(draft.address);
    case 'camwire':
      return draft.camera.trim() === '' ? '' : joinCamwire(draft.server, draft.camera, draft.token);
    case 'pictures': {
      const path = draft.folder.path.trim();
      return path === '' ? '' : (draft.folder.newest ? 'watch:' : 'images:') + path;
    }
    case 'test':
      return 'test:' + draft.test.trim();
    case 'other':
      return draft.other.trim();
  }
}

/** Fields of the form that can be wrong. */
export type Field = 'id' | 'name' | 'source' | 'fps' | 'width' | 'height' | 'quality' | 'transport' | 'fingerprint' | 'secret';

/** What can be told without asking the server, as keys of messages. */
export type Complaint = 'missing' | 'badId' | 'taken' | 'number' | 'again';

export function check(draft: Draft, entry: Entry | null, taken: ReadonlySet<string>): Partial<Record<Field, Complaint>> {
  const wrong: Partial<Record<Field, Complaint>> = {};
  if (sourceOf(draft) === '') wrong.source = 'missing';
  else if (lostSecret(draft, entry)) wrong.secret = 'again';
  if (!entry) {
    if (!isId(draft.id)) wrong.id = draft.id === '' ? 'missing' : 'badId';
    else if (taken.has(draft.id)) wrong.id = 'taken';
  }
  for (const field of ['fps', 'width', 'height', 'quality'] as const) {
    if (draft[field].trim() !== '' && toNumber(draft[field]) === null) wrong[field] = 'number';
  }
  return wrong;
}

/**
 * Whether a secret would get lost: it is masked, so another address can only
 * be saved with the secret typed in again.
 */
function lostSecret(draft: Draft, entry: Entry | null): boolean {
  if (!entry?.source.includes(MASK) || sourceOf(draft) === sourceOf(draftOf(entry))) return false;
  if (draft.kind !== kindOf(entry.source)) return false;
  const source = sourceOf(draft);
  if (source.includes(MASK)) return true;
  return draft.kind === 'ip' ? draft.address.password === '' : draft.kind === 'camwire' && draft.token === '';
}

/** A number as people write it, with a point or a comma. */
function toNumber(typed: string): number | null {
  const text = typed.trim().replace(',', '.');
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : null;
}

/** What has to be sent: everything that is set of a new camera, and what differs of one that there is. */
export function changeOf(draft: Draft, entry: Entry | null): EntryChange {
  const before = entry ? draftOf(entry) : newDraft(draft.kind);
  const change: EntryChange = entry ? {} : { id: draft.id, source: sourceOf(draft) };
  if (entry && sourceOf(draft) !== sourceOf(before)) change.source = sourceOf(draft);
  if (draft.name.trim() !== before.name) change.name = draft.name.trim();
  for (const field of ['fps', 'width', 'height'] as const) {
    if (draft[field].trim() !== before[field]) change[field] = toNumber(draft[field]) ?? 0;
  }
  // Its default is not zero, so none is not sent at all.
  const quality = toNumber(draft.quality);
  if (quality !== null && draft.quality.trim() !== before.quality) change.quality = quality;
  if (draft.enabled !== before.enabled) change.enabled = draft.enabled;
  if (draft.onDemand !== before.onDemand) change.on_demand = draft.onDemand;
  if (draft.kind === 'ip' && draft.transport !== '' && draft.transport !== before.transport) change.transport = draft.transport;
  if (hasCertificate(draft) && draft.fingerprint.trim() !== before.fingerprint) change.fingerprint = draft.fingerprint.trim();
  return change;
}

/** Whether the source shows a certificate that may have to be told apart from a false one. */
export function hasCertificate(draft: Draft): boolean {
  return /^(rtsps:|https:|whep:https:)/.test(sourceOf(draft)) || draft.kind === 'camwire';
}
