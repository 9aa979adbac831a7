import { isObject, number, objects, text } from './json';
import type { Loose } from './json';

/** A camera as it is configured, in the keys of the configuration file. */
export interface Entry {
  readonly id: string;
  /** '' for none of its own. */
  readonly name: string;
  /** With its secrets masked. */
  readonly source: string;
  /** Pictures per second, 0: as they come. */
  readonly fps: number;
  /** Pixels, 0: as they come. */
  readonly width: number;
  readonly height: number;
  /** Of JPEG pictures, 0 to 100. */
  readonly quality: number;
  readonly enabled: boolean;
  readonly onDemand: boolean;
  readonly transport: string;
  /** SHA-256 of a certificate that the system does not trust; '' for none. */
  readonly fingerprint: string;
  /** An entry of the file can only be changed there. */
  readonly fromFile: boolean;
  /** What keeps it from being started. */
  readonly problems: readonly Problem[];
}

/** One thing that is wrong with an entry, in the server's words. */
export interface Problem {
  /** The key that is wrong; '' for the whole. */
  readonly field: string;
  readonly message: string;
  /** How to mend it; may be ''. */
  readonly hint: string;
}

/** What is sent to add or change a camera: the keys that are to have a value. */
export type EntryChange = Partial<{
  id: string;
  name: string;
  source: string;
  fps: number;
  width: number;
  height: number;
  quality: number;
  enabled: boolean;
  on_demand: boolean;
  transport: string;
  fingerprint: string;
}>;

/** A USB camera at the machine that runs Camwire. */
export interface UsbCamera {
  readonly source: string;
  /** As the camera tells it; may be ''. */
  readonly name: string;
  readonly path: string;
  /** "1280x720", '' while unknown. */
  readonly resolution: string;
  readonly fps: number;
  readonly suggestedId: string;
  readonly inUse: boolean;
}

export function parseEntries(value: unknown): Entry[] {
  return objects(value).map(parseEntry).filter((e) => e !== null);
}

/** Reads one entry; null when it is none. */
export function parseEntry(value: unknown): Entry | null {
  if (!isObject(value) || text(value['id']) === '') return null;
  const v: Loose = value;
  return {
    id: text(v['id']),
    name: text(v['name']),
    source: text(v['source']),
    fps: number(v['fps']),
    width: number(v['width']),
    height: number(v['height']),
    quality: number(v['quality']),
    enabled: v['enabled'] !== false,
    onDemand: v['on_demand'] === true,
    transport: text(v['transport']),
    fingerprint: text(v['fingerprint']),
    fromFile: v['origin'] === 'file',
    problems: parseProblems(v['problems']),
  };
}

export function parseProblems(value: unknown): Problem[] {
  return objects(value)
    .map((v) => ({ field: text(v['field']), message: text(v['message']), hint: text(v['hint']) }))
    .filter((p) => p.message !== '');
}

export function parseUsb(value: unknown): UsbCamera[] {
  return objects(value)
    .map((v) => ({
      source: text(v['source']),
      name: text(v['name']),
      path: text(v['path']),
      resolution: text(v['resolution']),
      fps: number(v['fps']),
      suggestedId: text(v['suggested_id']),
      inUse: v['in_use'] === true,
    }))
    .filter((u) => u.source !== '');
}
