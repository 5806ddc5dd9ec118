// SPDX-License-Identifier: MIT
/**
 * The SDK: what the command line does, as functions.
 *
 *     import { run } from 'ukl';
 */
export { type BenchOptions, type BenchResult, bench } from '../bench/bench.js';
export { build } from '../build/build.js';
export { type Compose, defineCompose, loadProject, type Project } from '../compose/file.js';
export { down, up } from '../compose/up.js';
export { type Deployed, type DeployOptions, deploy } from '../deploy/deploy.js';
export {
  type DetachOptions,
  detach,
  type GuestSummary,
  list as listGuests,
  remove as removeGuest,
  restart as startGuest,
  save as saveGuest,
  stop as stopGuest,
} from '../detached/detach.js';
export { copyFrom, copyTo, exec as execInGuest } from '../detached/exec.js';
export { dev } from '../dev/dev.js';
export { doctor, type ProbeResult } from '../doctor/doctor.js';
export { buildFunction } from '../functions/build.js';
export { defineFunction, type FunctionConfig, type FunctionContext, type FunctionDefinition, type FunctionHandler } from '../functions/define.js';
export { discover, type FunctionSource } from '../functions/discover.js';
export type { Gateway, GatewayOptions } from '../functions/gateway.js';
export { type LocalGateway, type ServeOptions, serveFunctions } from '../functions/serve.js';
export type { Instance } from '../guest/spec.js';
export { type Pulled, type Pushed, pull, push } from '../image/transfer.js';
export { type Inspection, type InspectOptions, inspect } from '../inspect/inspect.js';
export { type ErrorCode, UklError } from '../lib/errors.js';
export { createLog, type Log } from '../lib/log.js';
export type * from '../model/index.js';
export { commandLoad, type Load, optimize } from '../optimize/optimize.js';
export { defineConfig, type UklConfig } from '../options/config.js';
export type { BuildOptions, Context, RunOptions } from '../options/given.js';
export { type Profile, type ProfileOptions, profile } from '../profile/profile.js';
export { init } from '../project/init.js';
export { dryRun, type RunningVm } from '../run/launch.js';
export type { RunPlan } from '../run/plan.js';
export { type RestoreOptions, run } from '../run/run.js';
export { listSnapshots, type Snapshot } from '../run/saved.js';
export { type OpenSnapshot, openSnapshot, restore, type SaveOptions, type Standby, saveSnapshot } from '../run/snapshot.js';
export { type Cleaned, clean } from '../store/clean.js';
export { removeSnapshot } from '../store/snapshots.js';
