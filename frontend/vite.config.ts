import vue from '@vitejs/plugin-vue';
import { VitePWA } from 'vite-plugin-pwa';
import { defineConfig } from 'vitest/config';
import { element } from './build/element.ts';
import { precompress } from './build/precompress.ts';
import { pwa } from './build/pwa.ts';

const server = 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [vue(), VitePWA(pwa), element(), precompress()],
  define: {
    __VUE_OPTIONS_API__: false,
    __VUE_PROD_DEVTOOLS__: false,
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: false,
    // vue-i18n interprets its messages; nothing here needs 'unsafe-eval'.
    __VUE_I18N_FULL_INSTALL__: false,
    __VUE_I18N_LEGACY_API__: false,
    __INTLIFY_PROD_DEVTOOLS__: false,
    __INTLIFY_DROP_MESSAGE_COMPILER__: false,
  },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    // A data: URL would need an exception in the content security policy.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [
            // Over a slow link each further file costs a round trip, so what the
            // first page needs comes in two: what changes with every version,
            // and what hardly ever does.
            { name: 'vendor', test: /node_modules\/(@?vue|@intlify)|plugin-vue/, priority: 2 },
            { name: 'base', test: /src\/(api|player|styles|cameras|theme|components\/(\w+\.|grid|ui\/explain))/, priority: 1 },
          ],
        },
      },
    },
  },
  server: {
    proxy: {
      '/api': { target: server, ws: true },
      '/whep': { target: server },
      '/whip': { target: server },
    },
  },
  test: {
    environment: 'happy-dom',
    include: ['src/**/*.test.ts'],
    restoreMocks: true,
  },
});
