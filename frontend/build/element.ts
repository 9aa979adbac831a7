import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import type { Plugin } from 'vite';

/** The one file that other people's pages include. */
const FILE = 'camwire-view.js';

/**
 * Builds the custom element beside the pages, as one classic script without
 * imports: it shares no file with the pages, so it can be fetched from anywhere
 * by one script tag, and knows by that tag where it came from.
 */
export function element(): Plugin {
  return {
    name: 'camwire-element',
    apply: 'build',
    async generateBundle() {
      const result = await build({
        configFile: false,
        logLevel: 'warn',
        build: {
          write: false,
          target: 'es2022',
          lib: {
            entry: fileURLToPath(new URL('../src/element/main.ts', import.meta.url)),
            formats: ['iife'],
            name: 'CamwireView',
          },
        },
      });
      const outputs = Array.isArray(result) ? result : [result];
      const chunks = outputs.flatMap((o) => ('output' in o ? o.output : []));
      const [chunk] = chunks;
      if (chunks.length !== 1 || chunk?.type !== 'chunk') throw new Error(`${FILE} has to be one file`);
      this.emitFile({ type: 'asset', fileName: FILE, source: chunk.code });
    },
  };
}
