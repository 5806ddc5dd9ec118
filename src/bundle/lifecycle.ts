// SPDX-License-Identifier: MIT
/** A container's life, as the runtime specification has it: create, start, kill, delete. */
import { rename, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ask, goneFrom, isGone } from '../detached/client.js';
import { ensurePackages } from '../host/requirements.js';
import { UklError } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import { joinGroup, leaveGroup } from './cgroup.js';
import { startChild } from './child.js';
import { requestOf } from './exec.js';
import { runHooks } from './hooks.js';
import { prepareImage } from './image.js';
import { requirements as networkRequirements } from './network.js';
import { type BundlePlan, type Program, planOf } from './plan.js';
import { signalOf } from './process.js';
import { type ContainerRecord, claim, identify, type Place, readConfig, readRecord, release, stateOf, statusOf, writeRecord } from './record.js';
import { sortCovers } from './rootfs.js';
import { type BundleConfig, readBundle } from './spec.js';

export interface StartOptions {
  /** Gets the number of the process that the engine waits for. */
  readonly pidFile?: string | undefined;
  /** Gets the other end of the program's terminal. */
  readonly consoleSocket?: string | undefined;
  readonly log: Log;
}

/** Who reads it sees all of it, or nothing. */
async function writePid(file: string, pid: number): Promise<void> {
  await writeFile(`${file}.partial`, String(pid));
  await rename(`${file}.partial`, file);
}

function checkTerminal(terminal: boolean, consoleSocket: string | undefined): void {
  if (terminal && consoleSocket === undefined)
    throw new UklError('UKL_USAGE', 'the program is to have a terminal, and nobody takes its other end', { hint: '--console-socket PATH, or terminal: false' });
  if (!terminal && consoleSocket !== undefined)
    throw new UklError('UKL_USAGE', 'a console socket was given for a program without a terminal', { hint: 'terminal: true, or no --console-socket' });
}

/** Runs the hooks that come between a container's process and its start. */
async function runCreateHooks({ hooks }: BundleConfig, made: ContainerRecord): Promise<void> {
  for (const name of ['prestart', 'createRuntime', 'createContainer'] as const) await runHooks(hooks[name], name, stateOf(made, 'creating'));
}

async function makeContainer(place: Place, config: BundleConfig, plan: BundlePlan, record: ContainerRecord, options: StartOptions): Promise<void> {
  const { log, consoleSocket, pidFile } = options;
  const sorted = await sortCovers(plan.covers);
  if (sorted.left.length > 0) log.warn(`a guest cannot have ${sorted.left.join(', ')}: sockets, pipes and devices of this host`);
  if (plan.network.kind !== 'host') await ensurePackages(log, networkRequirements);
  const image = plan.sandbox ? '' : await prepareImage(place, plan, sorted, log);
  const child = await startChild({ words: ['run', place.root, place.id, image], network: plan.network, consoleSocket, log });
  const made = { ...record, process: identify(child.pid) };
  try {
    if (plan.cgroup !== undefined) {
      const refused = await joinGroup(plan.cgroup, child.pid);
      if (refused.length > 0) log.warn(`the container is not in the group ${plan.cgroup} of ${refused.join(', ')}`);
    }
    await runCreateHooks(config, made);
    await writeRecord(place, made);
    if (pidFile !== undefined) await writePid(pidFile, child.pid);
    await child.keep();
  } catch (error) {
    child.kill();
    if (plan.cgroup !== undefined) await leaveGroup(plan.cgroup);
    await runHooks(config.hooks.poststop, 'poststop', stateOf(made, 'stopped')).catch((after: Error) => log.warn(after.message));
    throw error;
  }
}

/**
 * Makes a container, up to a process that waits to be started.
 *
 * @throws UklError; nothing is left of it then
 */
export async function create(place: Place, bundle: string, options: StartOptions): Promise<void> {
  const directory = resolve(bundle);
  const config = await readBundle(directory);
  const plan = planOf(config, directory, place.id);
  checkTerminal(plan.program.terminal !== undefined, options.consoleSocket);
  const record = await claim(place, directory, config);
  try {
    await makeContainer(place, config, plan, record, options);
  } catch (error) {
    await release(place);
    throw error;
  }
}

/** Asks a container's process. Throws UKL_VMM if it has ended. */
async function askProcess(place: Place, method: 'GET' | 'POST', path: string): Promise<unknown> {
  const record = await readRecord(place);
  const stopped = new UklError('UKL_VMM', `container not running: ${place.id} is ${statusOf(record)}`, { hint: `ukl-oci delete ${place.id}` });
  if (record.process === undefined || statusOf(record) === 'stopped') throw stopped;
  try {
    return await ask(place.socket, method, path);
  } catch (error) {
    throw isGone(error) ? stopped : error;
  }
}

/** Lets a container's guest boot; settles when its program runs. Throws UKL_USAGE if it was started before. */
export async function start(place: Place, log: Log): Promise<void> {
  await askProcess(place, 'POST', '/start');
  const { hooks } = await readConfig(place);
  // As the specification has it, the container goes on if one fails.
  await runHooks(hooks.poststart, 'poststart', stateOf(await readRecord(place))).catch((error: Error) => log.warn(error.message));
}

/** Sends the container's program a signal; SIGKILL ends the machine. Throws UKL_VMM if it has ended, unless `all` are meant, which are none then. */
export async function kill(place: Place, signal: string, all: boolean): Promise<void> {
  const name = signalOf(signal);
  const record = await readRecord(place);
  if (all && statusOf(record) === 'stopped') return;
  if (name !== 'SIGKILL' || record.process === undefined || statusOf(record) === 'stopped') await askProcess(place, 'POST', `/signal?signal=${name}`);
  // The kernel ends the machine with its process, which need not be able to answer.
  else process.kill(record.process.pid, name);
}

export const pause = async (place: Place): Promise<void> => void (await askProcess(place, 'POST', '/pause'));
export const resume = async (place: Place): Promise<void> => void (await askProcess(place, 'POST', '/resume'));

/** The processes on this host that are the container's. */
export async function pids(place: Place): Promise<number[]> {
  return ((await askProcess(place, 'GET', '/pids')) as { pids: number[] }).pids;
}

/**
 * Forgets a container that has ended; by force, one that has not as well, or none at all.
 *
 * @throws UKL_USAGE if it has not ended
 */
export async function remove(place: Place, force: boolean, log: Log): Promise<void> {
  let record: ContainerRecord;
  try {
    record = await readRecord(place);
  } catch (error) {
    if (!force) throw error;
    await release(place);
    return;
  }
  const status = statusOf(record);
  if (status !== 'stopped' && !force)
    throw new UklError('UKL_USAGE', `container ${place.id} is ${status}: only one that has stopped can be deleted`, {
      hint: `ukl-oci kill ${place.id} KILL, or delete --force`,
    });
  if (status !== 'stopped' && record.process !== undefined) {
    const end = goneFrom(place.socket);
    process.kill(record.process.pid, 'SIGKILL');
    await end;
  }
  const config = await readConfig(place).catch(() => undefined);
  if (config?.linux.cgroupsPath !== undefined) await leaveGroup(config.linux.cgroupsPath);
  await release(place);
  await runHooks(config?.hooks.poststop ?? [], 'poststop', stateOf(record, 'stopped')).catch((error: Error) => log.warn(error.message));
}

/** Starts a further program behind a process of its own. Returns that process's number. Throws UKL_VMM if the container does not run. */
export async function execDetached(place: Place, program: Program, { pidFile, consoleSocket, log }: StartOptions): Promise<number> {
  checkTerminal(program.terminal !== undefined, consoleSocket);
  const child = await startChild({ words: ['exec', place.root, place.id], network: { kind: 'host' }, consoleSocket, request: requestOf(program), log });
  if (pidFile !== undefined) await writePid(pidFile, child.pid);
  await child.keep();
  return child.pid;
}
