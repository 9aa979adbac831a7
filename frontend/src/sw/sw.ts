/**
 * Keeps the app's own files, so that the phone page opens without a server and
 * can wait for it. It touches nothing else: no API, no pictures, no video.
 */
import { plan, version } from './plan';

interface File {
  readonly url: string;
  /** Null where the name holds a hash of the content. */
  readonly revision: string | null;
}

declare const self: ServiceWorkerGlobalScope & { readonly __WB_MANIFEST: readonly File[] };

/** A server that does not answer a page within so many ms is not there. */
const PATIENCE = 4000;
const PREFIX = 'camwire-';

const files = self.__WB_MANIFEST;
const cacheName = PREFIX + version(files);
const kept = new Set(files.map((f) => path(f.url)));

function path(url: string): string {
  return new URL(url, self.location.href).pathname;
}

self.addEventListener('install', (event) => {
  // The new version waits for no page to be closed: pages of the old one keep
  // what they have, and load themselves anew when they miss something.
  event.waitUntil(fill().then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  event.waitUntil(clean().then(() => self.clients.claim()));
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET') return;
  switch (plan(new URL(request.url), self.location.origin, request.mode === 'navigate', kept)) {
    case 'page':
      event.respondWith(page(request));
      break;
    case 'file':
      event.respondWith(file(request));
      break;
  }
});

/** Fetches what is new. What the version before has under a hashed name is the same. */
async function fill(): Promise<void> {
  const cache = await caches.open(cacheName);
  await Promise.all(
    files.map(async ({ url, revision }) => {
      const have = revision === null ? await caches.match(path(url)) : undefined;
      const response = have ?? (await fetch(path(url), { cache: revision === null ? 'default' : 'reload' }));
      if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
      await cache.put(path(url), response);
    }),
  );
}

async function clean(): Promise<void> {
  const names = await caches.keys();
  await Promise.all(names.filter((n) => n.startsWith(PREFIX) && n !== cacheName).map((n) => caches.delete(n)));
}

async function page(request: Request): Promise<Response> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), PATIENCE);
  try {
    return await fetch(request, { signal: limit.signal });
  } catch (err) {
    const shell = await (await caches.open(cacheName)).match('/index.html');
    if (shell) return shell;
    throw err;
  } finally {
    clearTimeout(timer);
  }
}

async function file(request: Request): Promise<Response> {
  const cache = await caches.open(cacheName);
  return (await cache.match(new URL(request.url).pathname)) ?? fetch(request);
}
