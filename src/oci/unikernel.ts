// SPDX-License-Identifier: MIT
/** A unikernel in a container image: one layer with the file that boots, and notes for who starts it. */
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { ImageManifest } from '../model/index.js';
import type { StoreContext } from '../store/store.js';
import { writeTar } from './archive.js';
import { type ContainerImage, getLayers, rootOf } from './container.js';
import { copyImage } from './copy.js';
import { abortable, type Bytes, bytesOf, digestOf, hashing } from './digest.js';
import { documentOf } from './layout.js';
import type { Sink, Source } from './source.js';
import { type Descriptor, type Manifest, MEDIA } from './spec.js';

/** The label and annotation that says where in its layer an image of ukl's is. */
export const UNIKERNEL = 'ukl.image';
/** Where it is, in images that we make. */
export const UNIKERNEL_FILE = '/unikernel';

/** Where a container image has a unikernel of ours; undefined if it has none. */
export const unikernelPath = ({ config, manifest }: ContainerImage): string | undefined => config.config.Labels[UNIKERNEL] ?? manifest.annotations?.[UNIKERNEL];

/** The file that boots, in the store; undefined if the image has none. Throws UKL_IMAGE. */
export async function getUnikernel(image: ContainerImage, context: StoreContext): Promise<string | undefined> {
  const path = unikernelPath(image);
  const node = path === undefined ? undefined : rootOf(await getLayers(image, context)).find(path)?.node;
  return node?.kind === 'file' ? node.host : undefined;
}

/** What urunc, a container runtime for unikernels, wants to know: urunc.io, "Packaging unikernels". */
const notesOf = ({ run, kernel }: ImageManifest): Readonly<Record<string, string>> => ({
  'com.urunc.unikernel.unikernelType': 'linux',
  'com.urunc.unikernel.unikernelVersion': kernel.version,
  'com.urunc.unikernel.hypervisor': 'qemu',
  'com.urunc.unikernel.binary': UNIKERNEL_FILE,
  'com.urunc.unikernel.cmdline': [...run.command, ...run.args].join(' '),
});

export interface Unikernel {
  /** A finished image with its manifest in it. */
  readonly file: string;
  readonly manifest: ImageManifest;
  readonly sink: Sink;
  /** For what is made on the way. */
  readonly work: string;
  readonly signal?: AbortSignal | undefined;
}

/** Puts an image into a container image, and returns its digest: the same for the same image. */
export async function packUnikernel({ file, manifest, sink, work, signal }: Unikernel): Promise<string> {
  const { run, name, kernel } = manifest;
  const notes = notesOf(manifest);
  // Some runtimes are not given annotations, and read them here.
  const encoded = JSON.stringify(Object.fromEntries(Object.entries(notes).map(([key, value]) => [key, Buffer.from(value).toString('base64')])));
  const archive = join(work, 'layer.tar');
  await writeTar(archive, [
    { name: UNIKERNEL_FILE.slice(1), path: file },
    { name: 'urunc.json', data: Buffer.from(encoded) },
  ]);
  const compressed = `${archive}.gz`;
  let diffId = '';
  const layer = { mediaType: MEDIA.layerGzip, digest: '', size: 0 };
  const plain = hashing(abortable(createReadStream(archive), signal), (digest) => {
    diffId = digest;
  });
  const gzip = createGzip();
  const tell = (digest: string, size: number): void => void Object.assign(layer, { digest, size });
  await Promise.all([pipeline(plain, gzip), pipeline(hashing(gzip as Bytes, tell), createWriteStream(compressed))]);

  const labels = { [UNIKERNEL]: UNIKERNEL_FILE, ...notes };
  const ports = new Set([...run.exposed, ...run.ports.map(({ guest, protocol }) => `${guest}/${protocol}`)]);
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {
        Entrypoint: run.command,
        ...(run.args.length > 0 ? { Cmd: run.args } : {}),
        ...(ports.size > 0 ? { ExposedPorts: Object.fromEntries([...ports].sort().map((port) => [port, {}])) } : {}),
        WorkingDir: '/',
        Labels: labels,
      },
      rootfs: { type: 'layers', diff_ids: [diffId] },
      history: [{ created_by: 'ukl build --container oci' }],
    }),
  );
  const described: Descriptor = { mediaType: MEDIA.config, digest: digestOf(config), size: config.length };
  const annotations = { 'org.opencontainers.image.title': name, 'org.opencontainers.image.description': `Linux ${kernel.version} with ${name}`, ...labels };
  const contents: Manifest = { schemaVersion: 2, mediaType: MEDIA.manifest, config: described, layers: [layer], annotations };
  const document = documentOf(contents, MEDIA.manifest);
  const source: Source = {
    name: file,
    root: async () => document,
    document: async () => document,
    blob: async ({ digest }) => (digest === described.digest ? bytesOf(config) : createReadStream(compressed)),
  };
  return copyImage({ source, document, manifest: contents }, sink, signal);
}
