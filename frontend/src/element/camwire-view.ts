import { Player, RUNGS, WHOLE, byKey, gestures, transformOf, within } from '../player';
import type { PlayerState, PlayerStats, PlayerStatus, RungName, View } from '../player';
import { STYLE } from './style';
import { textsFor } from './texts';

export type Mode = 'live' | 'snap';
export type Fit = 'contain' | 'cover' | 'fill';
/** Which way of transport is wanted at best; auto: the best there is. */
export type Rung = 'auto' | RungName;

/** What exportState gives and restoreState takes: plain data, for JSON. */
export interface CamwireViewState {
  camera: string;
  mode: Mode;
  zoom: number;
  /** The point in the middle, as fractions of the element's box. */
  pan: { x: number; y: number };
  muted: boolean;
  rung: Rung;
}

/** What the events of the element carry. */
export interface CamwireViewEvents {
  'camwire-state': CustomEvent<PlayerStatus>;
  'camwire-delay': CustomEvent<PlayerStats>;
  'camwire-error': CustomEvent<{ state: PlayerState; code: string; detail?: string }>;
}

/** The server that the script came from, for elements that name none. */
let home = '';

/** Tells where the script came from; called once, as the script starts. */
export function setHome(script: string | undefined): void {
  home = script ? new URL('.', script).href : '';
}

const ATTRIBUTES = ['camera', 'mode', 'src', 'token', 'muted', 'controls', 'fit', 'rung'] as const;

/**
 * `<camwire-view>`: one camera of a Camwire in any page. It shows, falls back
 * and comes back by itself; attributes and properties are the same thing, except
 * for the token, which as a property is kept out of the page.
 */
export class CamwireView extends HTMLElement {
  static readonly observedAttributes: readonly string[] = ATTRIBUTES;

  readonly #stage: HTMLElement;
  readonly #box: HTMLElement;
  readonly #note: HTMLElement;
  readonly #bar: HTMLElement;
  #player: Player | null = null;
  /** What the player was made for; something else makes another one. */
  #made = '';
  #token: string | null = null;
  #view: View = WHOLE;
  #ungesture: (() => void) | null = null;
  #delay: number | undefined;
  #planned = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    adopt(root);
    this.#box = make('div', 'box');
    this.#note = make('div', 'note');
    this.#note.setAttribute('role', 'status');
    this.#bar = make('div', 'bar');
    this.#bar.dataset['control'] = '';
    this.#stage = make('div', 'stage');
    this.#stage.tabIndex = 0;
    this.#stage.setAttribute('role', 'img');
    this.#stage.addEventListener('keydown', (e) => this.#key(e));
    this.#stage.append(this.#box);
    root.append(this.#stage, this.#note, this.#bar);
  }

  connectedCallback(): void {
    this.#ungesture ??= gestures(this.#stage, {
      view: () => this.#view,
      change: (view) => this.#show(view),
      wheel: 'ctrl',
    });
    this.#plan();
  }

  disconnectedCallback(): void {
    // Moved to another place it comes back at once, and nothing need be lost.
    this.#plan();
  }

  attributeChangedCallback(): void {
    this.#plan();
  }

  get camera(): string {
    return this.getAttribute('camera') ?? '';
  }
  set camera(value: string) {
    this.setAttribute('camera', value);
  }

  get mode(): Mode {
    return this.getAttribute('mode') === 'snap' ? 'snap' : 'live';
  }
  set mode(value: Mode) {
    this.setAttribute('mode', value);
  }

  get src(): string {
    return this.getAttribute('src') ?? '';
  }
  set src(value: string) {
    this.setAttribute('src', value);
  }

  get token(): string {
    return this.#token ?? this.getAttribute('token') ?? '';
  }
  set token(value: string | null) {
    this.#token = value;
    this.#plan();
  }

  get muted(): boolean {
    return this.hasAttribute('muted');
  }
  set muted(value: boolean) {
    this.toggleAttribute('muted', value);
  }

  get controls(): boolean {
    return this.hasAttribute('controls');
  }
  set controls(value: boolean) {
    this.toggleAttribute('controls', value);
  }

  get fit(): Fit {
    const value = this.getAttribute('fit');
    return value === 'cover' || value === 'fill' ? value : 'contain';
  }
  set fit(value: Fit) {
    this.setAttribute('fit', value);
  }

  get rung(): Rung {
    const value = this.getAttribute('rung');
    return RUNGS.find((r) => r === value) ?? 'auto';
  }
  set rung(value: Rung) {
    this.setAttribute('rung', value);
  }

  /** How it is; null while it is not in a page. */
  get status(): PlayerStatus | null {
    return this.#player?.status ?? null;
  }

  /** From the camera to the screen in ms, once it is known. */
  get delay(): number | undefined {
    return this.#delay;
  }

  /** The picture on the screen as a JPEG, or null. */
  picture(): Promise<Blob | null> {
    return this.#player?.picture() ?? Promise.resolve(null);
  }

  exportState(): CamwireViewState {
    const { zoom, x, y } = this.#view;
    return { camera: this.camera, mode: this.mode, zoom, pan: { x, y }, muted: this.muted, rung: this.rung };
  }

  /** Takes what exportState gave, also of another version: what is missing stays as it is. */
  restoreState(state: Partial<CamwireViewState>): void {
    if (typeof state.camera === 'string') this.camera = state.camera;
    if (state.mode === 'live' || state.mode === 'snap') this.mode = state.mode;
    if (typeof state.muted === 'boolean') this.muted = state.muted;
    if (typeof state.rung === 'string') this.rung = state.rung;
    this.#show(within({ ...this.#view, ...(state.zoom !== undefined && { zoom: state.zoom }), ...state.pan }));
  }

  /** Several changes in one go, and a move in the page, need one look only. */
  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      this.#update();
    });
  }

  #update(): void {
    if (!this.isConnected) {
      this.#close();
      this.#ungesture?.();
      this.#ungesture = null;
      return;
    }
    this.#box.style.setProperty('--fit', this.fit);
    const wanted = JSON.stringify([this.camera, this.src, this.token]);
    if (wanted !== this.#made || !this.#player) this.#open(wanted);
    this.#player?.setMuted(this.muted);
    this.#player?.prefer(this.#top());
    this.#stage.setAttribute('aria-label', textsFor(this).picture.replace('{camera}', this.camera));
    this.#drawNote();
    this.#drawBar();
  }

  #top(): RungName {
    if (this.mode === 'snap') return 'stills';
    return this.rung === 'auto' ? RUNGS[0] : this.rung;
  }

  #open(wanted: string): void {
    this.#close();
    this.#made = wanted;
    if (!this.camera) {
      this.#fail('failed', 'unknown-camera', textsFor(this).nothing);
      return;
    }
    let baseURL: string;
    try {
      baseURL = new URL(this.src || home || '/', document.baseURI).href;
    } catch {
      this.#fail('failed', 'unreachable', `src="${this.src}"`);
      return;
    }
    this.#player = new Player({
      element: this.#box,
      camera: this.camera,
      baseURL,
      muted: this.muted,
      prefer: this.#top(),
      ...(this.token && { token: this.token }),
      onState: (status) => this.#tell(status),
      onStats: (stats) => this.#measure(stats),
      onSilenced: () => (this.muted = true),
    });
  }

  #close(): void {
    this.#player?.destroy();
    this.#player = null;
    this.#made = '';
    this.#delay = undefined;
  }

  #tell(status: PlayerStatus): void {
    this.dispatchEvent(new CustomEvent('camwire-state', { detail: status, bubbles: true, composed: true }));
    if ((status.state === 'lost' || status.state === 'failed') && status.reason) {
      this.#fail(status.state, status.reason.code, status.reason.detail);
    }
    this.#plan();
  }

  #fail(state: PlayerState, code: string, detail?: string): void {
    const what = { state, code, ...(detail !== undefined && { detail }) };
    this.dispatchEvent(new CustomEvent('camwire-error', { detail: what, bubbles: true, composed: true }));
  }

  #measure(stats: PlayerStats): void {
    this.#delay = stats.delay;
    this.dispatchEvent(new CustomEvent('camwire-delay', { detail: stats, bubbles: true, composed: true }));
    const shown = this.#bar.querySelector('output');
    if (shown) shown.textContent = stats.delay === undefined ? '' : `${Math.round(stats.delay)} ms`;
  }

  #show(view: View): void {
    this.#view = view;
    this.#box.style.transform = transformOf(view);
    this.#stage.classList.toggle('close', view.zoom > 1);
    this.#plan();
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const next = byKey(this.#view, event.key);
    if (!next) return;
    event.preventDefault();
    this.#show(next);
  }

  #drawNote(): void {
    const texts = textsFor(this);
    const status = this.#player?.status;
    this.#note.hidden = status?.state === 'live';
    const strong = document.createElement('strong');
    strong.textContent = status ? texts.state[status.state] : texts.state.failed;
    const why = document.createElement('span');
    why.textContent = status ? (status.reason?.detail ?? '') : texts.nothing;
    this.#note.replaceChildren(strong, why);
  }

  #drawBar(): void {
    this.#bar.hidden = !this.controls;
    if (!this.controls) {
      this.#bar.replaceChildren();
      return;
    }
    if (this.#bar.childElementCount === 0) this.#fillBar();
    const press = (name: string, on: boolean) =>
      this.#bar.querySelector(`[data-do='${name}']`)?.setAttribute('aria-pressed', String(on));
    press('live', this.mode === 'live');
    press('snap', this.mode === 'snap');
    const texts = textsFor(this);
    const sound = this.#bar.querySelector('[data-do="sound"]');
    label(sound, this.muted ? texts.soundOn : texts.soundOff);
    sound?.querySelector('path')?.setAttribute('d', this.muted ? MUTED : LOUD);
    const whole = this.#bar.querySelector<HTMLElement>('[data-do="whole"]');
    if (whole) whole.hidden = this.#view.zoom === 1;
  }

  #fillBar(): void {
    const texts = textsFor(this);
    const button = (name: string, words: string, path: string | null, act: () => void) => {
      const b = make('button', '') as HTMLButtonElement;
      b.type = 'button';
      b.dataset['do'] = name;
      if (path) b.append(icon(path));
      else b.textContent = words;
      label(b, words);
      b.addEventListener('click', act);
      return b;
    };
    const all = [
      button('live', texts.live, null, () => (this.mode = 'live')),
      button('snap', texts.snap, null, () => (this.mode = 'snap')),
      button('sound', '', MUTED, () => (this.muted = !this.muted)),
      button('whole', texts.whole, WHOLE_ICON, () => this.#show(WHOLE)),
      document.createElement('output'),
    ];
    if (document.fullscreenEnabled) all.push(button('full', texts.fullScreen, FULL, () => void this.#fullScreen()));
    this.#bar.replaceChildren(...all);
  }

  async #fullScreen(): Promise<void> {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await this.requestFullscreen();
    } catch {
      // The page that embeds it does not allow it.
    }
  }
}

const MUTED = 'M4 9v6h4l5 4V5L8 9zM17 9.5l5 5M22 9.5l-5 5';
const LOUD = 'M4 9v6h4l5 4V5L8 9zM17 8.5a5 5 0 0 1 0 7M19.5 6a8.5 8.5 0 0 1 0 12';
const FULL = 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5';
const WHOLE_ICON = 'M9 4v5H4M15 4v5h5M9 20v-5H4M15 20v-5h5';

function make(name: string, className: string): HTMLElement {
  const e = document.createElement(name);
  if (className) e.className = className;
  return e;
}

function label(element: Element | null | undefined, words: string): void {
  element?.setAttribute('aria-label', words);
  element?.setAttribute('title', words);
}

function icon(path: string): SVGElement {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  const p = document.createElementNS(space, 'path');
  p.setAttribute('d', path);
  svg.append(p);
  return svg;
}

/** A sheet made by script needs no exception in the page's content security policy. */
function adopt(root: ShadowRoot): void {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];
}

declare global {
  interface HTMLElementTagNameMap {
    'camwire-view': CamwireView;
  }
}
