// SPDX-License-Identifier: MIT
import { relative } from 'node:path';
import { pull, push } from '../image/transfer.js';
import { EXIT } from '../model/exit-status.js';
import { type GlobalOptions, logFor, printJson } from './output.js';

/** `ukl push`: an image to a registry, a layout or an archive. */
export async function pushCommand(image: string, to: string, flags: GlobalOptions, signal: AbortSignal): Promise<number> {
  const { reference, digest } = await push(image, to, { log: logFor(flags), signal });
  if (flags.json) printJson({ ok: true, reference, digest });
  else if (!flags.quiet) process.stdout.write(`${reference}: ${digest}\nnext: ukl run ${reference}\n`);
  return EXIT.ok;
}

/** `ukl pull`: an image from there. */
export async function pullCommand(from: string, flags: GlobalOptions & { readonly out?: string | undefined }, signal: AbortSignal): Promise<number> {
  const { digest, file, unikernel } = await pull(from, { out: flags.out, log: logFor(flags), signal });
  const shown = file === undefined ? undefined : relative(process.cwd(), file);
  if (flags.json) printJson({ ok: true, digest, file, unikernel });
  else if (!flags.quiet) {
    const next = shown === undefined ? from : unikernel ? shown : `${shown.endsWith('.tar') ? 'oci-archive' : 'oci'}:${shown}`;
    process.stdout.write(`${shown ?? from}: ${digest}\nnext: ukl run ${next}\n`);
  }
  return EXIT.ok;
}
