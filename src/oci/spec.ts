// SPDX-License-Identifier: MIT
/** What registries and layouts hold: github.com/opencontainers/image-spec, version 1.1, and Docker's forms of the same. */
import { z } from 'zod';

export const MEDIA = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;

/** Manifests and indexes are read into memory; registries take none that is larger. */
export const MANIFEST_MAX = 4 * 2 ** 20;

/** Where a descriptor's reference name is: annotations.md. */
export const REF_NAME = 'org.opencontainers.image.ref.name';

const digest = z.string().regex(/^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$/, 'a sha256 or sha512 digest');
const annotations = z.record(z.string(), z.string());

export const descriptorSchema = z.object({
  mediaType: z.string(),
  digest,
  size: z.int().min(0),
  annotations: annotations.optional(),
  platform: z.object({ architecture: z.string(), os: z.string(), variant: z.string().optional() }).optional(),
});

export const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  manifests: z.array(descriptorSchema),
  annotations: annotations.optional(),
});

export const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
  annotations: annotations.optional(),
});

const words = z
  .array(z.string())
  .nullish()
  .transform((value) => value ?? []);
const names = z
  .record(z.string(), z.unknown())
  .nullish()
  .transform((value) => Object.keys(value ?? {}));

/** The parts of an image's configuration (config.md) that a start goes by. */
export const configSchema = z.object({
  architecture: z.string(),
  os: z.string(),
  config: z
    .object({
      User: z.string().nullish(),
      ExposedPorts: names,
      Env: words,
      Entrypoint: words,
      Cmd: words,
      Labels: z
        .record(z.string(), z.string())
        .nullish()
        .transform((value) => value ?? {}),
      Volumes: names,
      WorkingDir: z.string().nullish(),
      StopSignal: z.string().nullish(),
    })
    .nullish()
    .transform((value) => value ?? { ExposedPorts: [], Env: [], Entrypoint: [], Cmd: [], Labels: {}, Volumes: [] }),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(digest) }),
});

/** docker-archive's manifest.json: one entry an image. */
export const dockerArchiveSchema = z
  .array(
    z.object({
      Config: z.string(),
      RepoTags: z
        .array(z.string())
        .nullish()
        .transform((value) => value ?? []),
      Layers: z.array(z.string()),
    }),
  )
  .min(1);

export type Descriptor = z.output<typeof descriptorSchema>;
export type Index = z.output<typeof indexSchema>;
export type Manifest = z.output<typeof manifestSchema>;
export type ImageConfig = z.output<typeof configSchema>;
