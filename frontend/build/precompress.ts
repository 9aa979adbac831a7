import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Plugin } from 'vite';

const deflate = promisify(gzip);
const brotli = promisify(brotliCompress);

/** Pictures and fonts are compressed already. */
const TEXT = /\.(html|js|css|svg|json|webmanifest|txt)$/;
/** Below this many bytes a file fits into one packet with its headers anyway. */
const SMALLEST = 512;

/**
 * Writes a .gz and a .br beside every text file of the finished build, so that
 * the server never compresses the same page twice, and prints what a browser
 * really downloads.
 */
export function precompress(): Plugin {
  let dir = 'dist';
  return {
    name: 'camwire-precompress',
    apply: 'build',
    configResolved(config) {
      dir = resolve(config.root, config.build.outDir);
    },
    generateBundle() {
      // The empty marker file keeps the folder in a fresh checkout, where the
      // Go compiler insists on it. Emptying the folder would delete it.
      this.emitFile({ type: 'asset', fileName: '.gitkeep', source: '' });
    },
    async closeBundle() {
      const total = { plain: 0, gzip: 0, brotli: 0 };
      for (const file of await filesBelow(dir)) {
        const size = (await stat(file)).size;
        if (!TEXT.test(file) || size < SMALLEST) continue;
        const text = await readFile(file);
        const gz = await deflate(text, { level: 9 });
        const br = await brotli(text, {
          params: {
            [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
            [constants.BROTLI_PARAM_SIZE_HINT]: size,
          },
        });
        await Promise.all([writeFile(file + '.gz', gz), writeFile(file + '.br', br)]);
        total.plain += size;
        total.gzip += gz.length;
        total.brotli += br.length;
        console.log(`${relative(dir, file)}: ${kB(size)}, gzip ${kB(gz.length)}, brotli ${kB(br.length)}`);
      }
      console.log(`all pages: ${kB(total.plain)}, gzip ${kB(total.gzip)}, brotli ${kB(total.brotli)}`);
    },
  };
}

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name));
}

function kB(bytes: number): string {
  return (bytes / 1000).toFixed(1) + ' kB';
}
