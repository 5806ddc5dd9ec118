// SPDX-License-Identifier: MIT
import pc from 'picocolors';

/**
 * What the tool says about its own work. Everything goes to standard error:
 * standard output belongs to the guest, or to JSON.
 */
export interface Log {
  /** Runs `work` as a named step; shows it, and its time, once it has taken a while. */
  step<T>(title: string, work: (progress: (detail: string) => void) => Promise<T>): Promise<T>;
  info(text: string): void;
  warn(text: string): void;
}

export interface LogOptions {
  readonly quiet?: boolean;
  readonly stream?: NodeJS.WriteStream;
}

/** Steps shorter than this are not worth a line. */
const SHOWN_AFTER_MS = 500;
const REPAINT_MS = 200;
/** Without a terminal, a long step says that it is alive this often. */
const HEARTBEAT_MS = 30_000;

export function formatSeconds(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** Logs to a stream; on a terminal the running step is repainted in place. */
export function createLog(options: LogOptions = {}): Log {
  const stream = options.stream ?? process.stderr;
  const live = stream.isTTY === true && process.env.TERM !== 'dumb';
  const print = (line: string): void => {
    if (!options.quiet) stream.write(`${line}\n`);
  };

  return {
    async step(title, work) {
      const start = performance.now();
      let detail = '';
      let painted = false;
      let lastPrint = start;
      let lastDetail = '';
      const paint = (): void => {
        const now = performance.now();
        if (options.quiet || now - start < SHOWN_AFTER_MS) return;
        if (live) {
          const text = `${title}${detail ? `: ${detail}` : ''} (${formatSeconds(now - start)})`;
          stream.write(`\r\x1b[K${pc.cyan('▸')} ${text.slice(0, (stream.columns || 80) - 3)}`);
          painted = true;
        } else if (!painted || now - lastPrint > HEARTBEAT_MS) {
          print(painted ? `▸ ${title}: ${detail || lastDetail || 'working'} (${formatSeconds(now - start)})` : `▸ ${title} ...`);
          painted = true;
          lastPrint = now;
          lastDetail = detail;
        }
      };
      const timer = setInterval(paint, REPAINT_MS);
      const finish = (mark: string): void => {
        clearInterval(timer);
        if (live && painted) stream.write('\r\x1b[K');
        if (painted) print(`${mark} ${title} (${formatSeconds(performance.now() - start)})`);
      };
      try {
        const result = await work((text) => {
          detail = text;
        });
        finish(pc.green('✔'));
        return result;
      } catch (error) {
        finish(pc.red('✖'));
        throw error;
      }
    },
    info: (text) => print(text),
    warn: (text) => print(`${pc.yellow('warning:')} ${text}`),
  };
}

/** For SDK users who did not ask to be told. */
export const silentLog: Log = {
  step: (_title, work) => work(() => {}),
  info: () => {},
  warn: () => {},
};
