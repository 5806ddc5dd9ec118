// SPDX-License-Identifier: MIT
/** Debian's NFS-Ganesha, a server in user space: NFS 4 on a port of the loopback interface, and nothing else. Root starts it: it opens files by their handles. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from '../boot/harness.js';

const config = (directory: string, port: number): string => `
NFS_CORE_PARAM { Protocols = 4; NFS_Port = ${port}; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false; }
NFSV4 { Graceless = true; RecoveryBackend = fs; Minor_Versions = 1, 2; Only_Numeric_Owners = true; }
NFS_KRB5 { Active_krb5 = false; }
EXPORT {
  Export_Id = 1; Path = ${directory}; Pseudo = /export; Access_Type = RW; Squash = none;
  SecType = sys; Protocols = 4; Transports = TCP; FSAL { Name = VFS; }
}
`;

export class NfsServer implements AsyncDisposable {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(port: number, child: ChildProcess) {
    this.port = port;
    this.#child = child;
  }

  /** Serves a new directory in `work` as /export. Throws if it does not come up. */
  static async start(work: string): Promise<NfsServer> {
    const directory = join(work, 'export');
    await mkdir(directory);
    const port = await freePort();
    const file = join(work, 'ganesha.conf');
    await writeFile(file, config(directory, port));
    const child = spawn('ganesha.nfsd', ['-F', '-f', file, '-L', 'STDOUT', '-p', join(work, 'ganesha.pid'), '-N', 'EVENT'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(child, 'spawn');
    const server = new NfsServer(port, child);
    for await (const line of createInterface({ input: child.stdout })) {
      if (!line.includes('NFS SERVER INITIALIZED')) continue;
      child.stdout.resume();
      return server;
    }
    throw new Error('ganesha.nfsd has ended: apt install nfs-ganesha nfs-ganesha-vfs, and be root');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
