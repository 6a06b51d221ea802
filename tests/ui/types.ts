// What the page's source and its tests have in common with the API, and with each other. Nothing here runs: comments of the source
// name these types, and `npm run check` holds it to them.

import type { ComponentChildren } from "preact";
import type { Page } from "playwright-core";
import type { components, paths } from "./generated/openapi";

type Schemas = components["schemas"];
export type ArgumentsCheck = Schemas["ArgumentsCheck"];
export type Container = Schemas["Container"];
export type Difference = Schemas["Drift2"];
export type Edited = Schemas["Edited"];
export type Gate = Schemas["Gate"];
export type Gpu = Schemas["Gpu"];
export type Hold = Schemas["Hold"];
export type HistoryEvent = Schemas["Event"];
export type LoadSummary = Schemas["LoadSummary"];
export type MemoryRow = Schemas["MemoryRow"];
export type ObjectStatus = Schemas["ObjectStatus"];
export type Occupant = Schemas["GpuOccupant"];
export type Plan = Schemas["Plan"];
export type PlanItem = Schemas["PlanItem"];
export type Reason = Schemas["Reason"];
export type Revision = Schemas["Revision"];
export type Role = Schemas["Role"];
export type Sample = Schemas["Sample"];
export type SavedLog = Schemas["Log"];
export type Session = Schemas["Session"];
export type SlotSummary = Schemas["SlotSummary"];
export type Spark = Schemas["Spark"];
export type Status = Schemas["Status"];
export type Verdict = Schemas["VerdictKind"];
export type Work = Schemas["Work"];

/** What is wrong with a file, and where in it. */
export interface FileProblem {
  pointer: string;
  line: number;
  column: number;
  message: string;
  hint: string | null;
}

/** What the API answers in place of what was asked for: RFC 9457, with the members that some codes have and the description does not
 * name. */
export type Refusal = Partial<Schemas["ProblemDocument"]> & {
  fields?: string[];
  problems?: FileProblem[];
  changed?: string[];
};

export type Method = "GET" | "PUT" | "POST" | "DELETE" | "PATCH";

/** `/plans/{id}/approve` as the texts that are meant by it. */
type Pattern<K extends string> = K extends `${infer A}{${string}}${infer B}` ? `${A}${string}${Pattern<B>}` : K;
/** What the API has for this method, by its path in the description. */
type Operations<M extends Method> = {
  [
    K in keyof paths as Lowercase<M> extends keyof paths[K]
      ? paths[K][Lowercase<M>] extends object
        ? K
        : never
      : never
  ]: paths[K][Lowercase<M> & keyof paths[K]];
};

/** A path that the API has for this method. */
export type Address<M extends Method> = {
  [K in keyof Operations<M> & string]: Pattern<K> | `${Pattern<K>}?${string}`;
}[keyof Operations<M> & string];

type WithoutQuery<P extends string> = P extends `${infer A}?${string}` ? A : P;
type Operation<M extends Method, P extends string> = P extends keyof Operations<M>
  ? Operations<M>[P]
  : { [K in keyof Operations<M> & string]: P extends Pattern<K> ? Operations<M>[K] : never }[keyof Operations<M> &
      string];
type Content<O> = O extends { responses: infer R }
  ? R[keyof R & (200 | 202)] extends { content: infer C }
    ? C
    : Record<never, never>
  : never;

/** What the API answers; a text where it is not JSON. */
export type Answer<M extends Method, P extends string, A extends string = "application/json"> =
  Content<Operation<M, WithoutQuery<P>>> extends infer C
    ? A extends keyof C & `${string}json`
      ? C[A]
      : string
    : never;

/** An edit, in one of the forms that the API has. */
export type Edit = { owner?: string } & (
  | { merge: object; text?: undefined; revert?: undefined }
  | { merge?: undefined; text: string; revert?: undefined }
  | { merge?: undefined; text?: undefined; revert: number }
);

/** An edit that somebody wants to see before it is made. */
export interface Wish {
  title: string;
  note?: string | null;
  change: Edit;
  /** The revision that it was made from; absent: the one that is there when it is shown. */
  tag?: string | null;
  onWritten?: () => void;
  onInvalid?: (problems: FileProblem[]) => void;
}

export type Link = "connecting" | "live" | "broken";

/** The `lines` event of the stream of a log, which the description does not name. */
export interface LogTold {
  lines: { spark: string; container: string; line: string }[];
  /** What cannot be read. */
  errors: { spark: string; container: string; error: string | null }[];
}

/** What is told of a stream. */
export interface Heard {
  state?: (link: Link) => void;
  again?: () => void;
  seen?: () => void;
  history?: (event: HistoryEvent) => void;
  lines?: (told: LogTold, isFirst: boolean) => void;
}

/** What the shell gives to a view. */
export interface Shared {
  status: Status;
  events: HistoryEvent[];
  /** Whether who looks may do what takes that role. */
  may: (role: Role) => boolean;
  open: (wish: Wish) => void;
  /** Says that something was done. */
  say: (text: string) => void;
}

/** Something that happened to an element of the page. */
export type On<T extends Element = HTMLElement> = Event & { target: T };

/** What stands in an `html` text: a part of the page, an attribute, a component, or what is done on an event. Nothing checks what a
 * component is given there: each says itself what it wants. */
export type Piece = ComponentChildren | ((event: On) => unknown);
export type Html = (strings: TemplateStringsArray, ...pieces: Piece[]) => ComponentChildren;

/** `[whether it came or went, the line]` of a difference. */
export type DiffLine = [sign: string, line: string];

/** Words, and what makes them of names. Where something else than a name is put in, it says so itself. */
export type Words = { [name: string]: string | ((...names: string[]) => string) | Function | Words };

/** Words for each gate, and for each way in which arguments are known to be right: none is left out. */
export type GateWords = { [G in Gate as G["gate"]]: (gate: G, duration: (secs: number) => string) => string };
export type ArgumentsWords = { [A in ArgumentsCheck as A["is"]]: (known: A) => string };

/** A page that a test watches. */
export type Watched = Page & { wrong: string[] };

declare global {
  interface Window {
    axe?: typeof import("axe-core");
    /** What the policy of the page forbade. */
    violations: string[];
    streams: EventSource[];
    /** Nothing of a stream arrives any more. */
    dropped?: boolean;
    usable?: number;
  }
}
