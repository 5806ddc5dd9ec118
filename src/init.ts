// SPDX-License-Identifier: MIT
/** `ukl init`: a project that runs, to start from. */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { UklError } from './lib/errors.js';
import { projectRoot } from './lib/paths.js';

const SERVER = `import { createServer } from 'node:http';

const port = Number(process.env.PORT ?? 8080);

const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/plain');
  response.end(\`Hello from \${request.url ?? '/'}\\n\`);
});

server.listen(port, () => console.log(\`listening on port \${port}\`));

// Ctrl-C in ukl, and whoever else ends the machine in good order.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => server.close(() => console.log('closed')));
}
`;

const CONFIG = `import { defineConfig } from 'ukl';

export default defineConfig({
  entry: 'server.ts',
  runtime: 'node@24',
  ports: ['8080:8080'],
});
`;

/** The files of a new project, by name. */
function template(name: string): Readonly<Record<string, string>> {
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  return {
    'package.json': json({ name, private: true, type: 'module', main: 'server.ts', scripts: { start: 'ukl run', dev: 'ukl dev' } }),
    'tsconfig.json': json({ extends: join(projectRoot, 'tsconfig.guest.json'), include: ['*.ts'] }),
    'ukl.config.ts': CONFIG,
    'server.ts': SERVER,
    '.gitignore': '.ukl/\nnode_modules/\n',
  };
}

/**
 * Writes a TypeScript server with its configuration into a directory, which
 * may exist as long as none of the files does.
 *
 * @returns the names of the files
 * @throws UKL_USAGE if a file is in the way; nothing is written then
 */
export async function init(directory: string): Promise<readonly string[]> {
  const files = template(basename(resolve(directory)).toLowerCase().replaceAll(/[^a-z0-9._-]/g, '-'));
  const names = Object.keys(files);
  const taken = names.filter((name) => existsSync(join(directory, name)));
  if (taken.length > 0) {
    throw new UklError('UKL_USAGE', `${directory} has ${taken.join(', ')} already`, { hint: 'name another directory: ukl init my-server' });
  }
  await mkdir(directory, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text, { flag: 'wx' });
  return names;
}
