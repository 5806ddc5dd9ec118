// SPDX-License-Identifier: MIT
/** From paths of addresses to a tree of functions, and a list of them. */
import type { CallNode, Dump } from './profiler.js';
import type { Place } from './symbols.js';

/** As d3-flame-graph takes it: a value includes the children's. */
export interface Frame {
  readonly name: string;
  readonly object: string;
  value: number;
  children: Frame[];
}

export interface FunctionCost {
  readonly name: string;
  readonly object: string;
  /** Instructions in the function itself. */
  self: number;
  calls: number;
}

export interface Folded {
  readonly tree: Frame;
  readonly functions: readonly FunctionCost[];
}

/** Compilers' and mitigations' trampolines, which are nobody's function. */
const TRAMPOLINE = /^(__x86_(indirect|return)_thunk|__x86_indirect_(call|jump)_thunk|srso_|retbleed_|entry_(un)?train_ret)/;

class Tree {
  readonly root: Frame = { name: 'guest', object: 'guest', value: 0, children: [] };
  readonly #children = new Map<Frame, Map<string, Frame>>();

  child(parent: Frame, { name, object }: Place): Frame {
    // The same function again, by way of a tail call or an entry point.
    if (parent.name === name && parent.object === object) return parent;
    const siblings = this.#children.get(parent) ?? new Map<string, Frame>();
    this.#children.set(parent, siblings);
    const key = `${object} ${name}`;
    const found = siblings.get(key);
    if (found !== undefined) return found;
    const made: Frame = { name, object, value: 0, children: [] };
    siblings.set(key, made);
    parent.children.push(made);
    return made;
  }
}

/** Sums what a frame's descendants have, and drops what has nothing. */
function total(frame: Frame): number {
  frame.children = frame.children.filter((child) => total(child) > 0);
  for (const child of frame.children) frame.value += child.value;
  return frame.value;
}

/** Gives the addresses names; a function that jumps to another (a tail call) is its caller. */
export function fold({ nodes, counts }: Dump, place: (address: number) => Place): Folded {
  const tree = new Tree();
  const frames = new Map<number, Frame>([[0, tree.root]]);
  const functions = new Map<string, FunctionCost>();
  const cost = ({ name, object }: Place): FunctionCost => {
    const key = `${object} ${name}`;
    const known = functions.get(key);
    if (known !== undefined) return known;
    const made = { name, object, self: 0, calls: 0 };
    functions.set(key, made);
    return made;
  };
  const enter = (parent: Frame, where: Place): Frame => (TRAMPOLINE.test(where.name) ? parent : tree.child(parent, where));
  const frameOf = (id: number): Frame => {
    // Paths are long: no recursion.
    const missing: [number, CallNode][] = [];
    let at = id;
    while (!frames.has(at)) {
      const node = nodes.get(at);
      if (node === undefined) break;
      missing.push([at, node]);
      at = node.parent;
    }
    let frame = frames.get(at) ?? tree.root;
    for (const [missed, { site, callee }] of missing.reverse()) {
      frame = enter(enter(frame, place(site)), place(callee));
      frames.set(missed, frame);
    }
    return frame;
  };
  for (const { node, pc, instructions } of counts) {
    const where = place(pc);
    enter(frameOf(node), where).value += instructions;
    cost(where).self += instructions;
  }
  for (const { callee, calls } of nodes.values()) {
    const known = calls > 0 ? functions.get(`${place(callee).object} ${place(callee).name}`) : undefined;
    if (known !== undefined) known.calls += calls;
  }
  total(tree.root);
  return { tree: tree.root, functions: [...functions.values()].sort((a, b) => b.self - a.self) };
}
