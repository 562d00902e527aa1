// What people must do about what is wrong. What Tasuki does by itself is not in here.

import type { Observation, Snapshot } from './model';

type Diagnosis = Snapshot['diagnosis'];

const reclone = (cluster: string, node: string) => `\`tasuki-coordinator reclone ${cluster} ${node} --by WHO --reason WHY\``;

/** Whether a server does not run, as its own node tells. */
export function isDown(observation: Observation | undefined): boolean {
  const server = observation?.server;
  return server != null && (server.process.state === 'exited' || server.connection.state === 'closed');
}

const start = (node: string) => `Start the server of ${node}; it comes home as a replica by itself.`;

function of(diagnosis: Diagnosis, { cluster, nodes }: Snapshot): string | null {
  switch (diagnosis.diagnosis) {
    case 'unborn': return `Give birth to it, once: \`tasuki-coordinator init ${cluster}\``;
    case 'coordinator_blind': return 'Look after the network between this coordinator, Redis and the nodes.';
    case 'primary_unseen': return `Look after the network between this coordinator and ${diagnosis.primary}.`;
    case 'primary_overloaded': return `Find what loads ${diagnosis.primary}: long queries, locks, a slow disk.`;
    case 'replication_only_partition': return `Look after the network between ${diagnosis.primary} and ${diagnosis.lost_by.join(', ')}.`;
    case 'sidecar_lost': return `Restart the node beside ${diagnosis.primary}.`;
    case 'two_primaries': return `Make sure that clients reach one of them alone: ${diagnosis.writable.join(', ')}.`;
    case 'disk_full': return `Free space on ${diagnosis.node}.`;
    case 'replica_lagging': return `Look for a long transaction, a lock or a slow disk on ${diagnosis.node}.`;
    case 'replica_broken': return `Repair ${diagnosis.node}, or bring it home on a copy: ${reclone(cluster, diagnosis.node)}`;
    case 'errant_transactions': return `Look at what ${diagnosis.node} holds in excess; then ${reclone(cluster, diagnosis.node)}`;
    case 'unsupported': return `Change it, or leave it out of the cluster file: ${diagnosis.node}.`;
    case 'replica_stray':
      if (isDown(nodes?.[diagnosis.node])) return start(diagnosis.node);
      return diagnosis.reason.includes('node is silent') ? `Look after the host of ${diagnosis.node} and the node on it.` : null;
    case 'degraded':
    case 'group_too_small': return 'Bring a replica back.';
    case 'healthy':
    case 'switchover':
    case 'attempt_unfinished':
    case 'primary_crashed':
    case 'primary_stopped':
    case 'primary_closed':
    case 'primary_hung':
    case 'primary_host_lost':
    case 'primary_isolated':
    case 'primary_refusing': return null;
  }
}

/** Everything that waits for people, most urgent first. */
export function advice(snapshot: Snapshot): string[] {
  if (snapshot.stage) return [];
  const holds = snapshot.holds ?? [];
  if (holds.length > 0) return holds;
  const found = [of(snapshot.diagnosis, snapshot)];
  for (const [name, node] of Object.entries(snapshot.nodes ?? {})) {
    if (name !== snapshot.record?.primary && isDown(node)) found.push(start(name));
  }
  const { forecast } = snapshot;
  const blockers = forecast ? [...forecast.crash.blockers, ...forecast.host_loss.blockers, ...forecast.lacking] : [];
  found.push(...blockers.map((blocker) => `${blocker.what}: ${blocker.fix}`));
  const unique = [...new Set(found.filter((text) => text !== null))];
  // Whoever is told which server to start need not be told to bring one back.
  return unique.length > 1 ? unique.filter((text) => text !== 'Bring a replica back.') : unique;
}
