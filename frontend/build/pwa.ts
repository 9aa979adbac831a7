import type { VitePWAOptions } from 'vite-plugin-pwa';

/**
 * What makes the phone page an app. The service worker is our own, src/sw: the
 * build only tells it which files there are.
 */
export const pwa: Partial<VitePWAOptions> = {
  strategies: 'injectManifest',
  srcDir: 'src/sw',
  filename: 'sw.ts',
  // The content security policy allows no script in the page; src/pwa.ts does it.
  injectRegister: false,
  injectManifest: {
    rollupFormat: 'iife',
    globPatterns: ['**/*.{js,css,html,svg,png}'],
    // For other people's pages, which this service worker never sees.
    globIgnores: ['camwire-view.js'],
    // Names with a hash need no revision.
    dontCacheBustURLsMatching: /^assets\//,
  },
  manifest: {
    id: '/m',
    name: 'Camwire',
    short_name: 'Camwire',
    description: 'Makes a camera of this device.',
    start_url: '/m',
    scope: '/',
    display: 'standalone',
    background_color: '#0b0d10',
    theme_color: '#0b0d10',
    icons: [
      { src: '/icon-192.png', sizes: '192x192', type: 'image/png' },
      { src: '/icon-512.png', sizes: '512x512', type: 'image/png' },
      { src: '/icon-maskable-512.png', sizes: '512x512', type: 'image/png', purpose: 'maskable' },
    ],
  },
};
