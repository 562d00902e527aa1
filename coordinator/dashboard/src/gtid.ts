// How many transactions of one set another lacks. People are told; no decision rests on it.

interface Set_ { flavour: string; set: string }

function parts(set: Set_): Map<string, [number, number][]> {
  const found = new Map<string, [number, number][]>();
  for (const part of set.set.replaceAll(/\s/g, '').split(',').filter(Boolean)) {
    if (set.flavour === 'mariadb') {
      // Domain, server, sequence: strict mode makes it everything before as well.
      const [domain = '', , sequence = '0'] = part.split('-');
      const until = Math.max(Number(sequence), found.get(domain)?.[0]?.[1] ?? 0);
      found.set(domain, [[1, until]]);
      continue;
    }
    const [uuid = '', ...rest] = part.split(':');
    let origin = uuid;
    for (const piece of rest) {
      if (!/^\d/.test(piece)) {
        origin = `${uuid}:${piece}`;
        continue;
      }
      const [from = '0', to = from] = piece.split('-');
      found.set(origin, [...(found.get(origin) ?? []), [Number(from), Number(to)]]);
    }
  }
  return found;
}

/** Transactions of `all` that are not in `held`. */
export function missing(all: Set_, held: Set_): number {
  const have = parts(held);
  let sum = 0;
  for (const [origin, ranges] of parts(all)) {
    for (const [from, to] of ranges) {
      let covered = 0;
      for (const [start, end] of have.get(origin) ?? []) covered += Math.max(0, Math.min(to, end) - Math.max(from, start) + 1);
      sum += Math.max(0, to - from + 1 - covered);
    }
  }
  return sum;
}
