// SPDX-License-Identifier: MIT
import { exposition, Family, Histogram } from '../lib/prometheus.js';

/** What the gateway counts. A function that was never asked has no numbers. */
export class Metrics {
  readonly requests = new Family('ukl_requests_total', 'Requests answered, by status.', 'counter');
  readonly seconds = new Histogram('ukl_request_seconds', 'From a request to the end of its answer.');
  readonly starts = new Family('ukl_starts_total', 'Instances started: from a snapshot, or anew.', 'counter');
  readonly startSeconds = new Histogram('ukl_start_seconds', 'From the wish for an instance to the instance.');
  readonly ends = new Family('ukl_ends_total', 'Instances that ended, by why.', 'counter');
  readonly instances = new Family('ukl_instances', 'Instances that run.', 'gauge');
  readonly queued = new Family('ukl_queued', 'Requests that wait for an instance.', 'gauge');

  text(): string {
    return exposition([this.requests, this.seconds, this.starts, this.startSeconds, this.ends, this.instances, this.queued]);
  }
}
