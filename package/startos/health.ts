/** What StartOS shows of the cluster's health, from what the program saw last. */
import { i18n } from './i18n'

/** `spark-control status --cached --output json`, as far as it is needed. */
export type Status = {
  /** Of what is in force; `null`: nothing is, or nothing was looked at yet. */
  revision: number | null
  file_error: string | null
  fenced: string | null
  /** The file takes much out, and somebody must agree first. */
  pending_approval?: string | null
  /** Whom all of it concerns: decided by the program, put into words here. */
  headline: Headline
  sparks: Spark[]
}

/** A Spark as it was seen. */
export type Spark = {
  name: string
  reachable: boolean
  why: string | null
  memory_available_bytes: number | null
}

export type Concern =
  | 'fine'
  | 'passing'
  | 'as_wished'
  | 'asks_for_approval'
  | 'out_of_sight'
  | 'needs_you'

export type Headline = {
  concern: Concern
  /** Every object that is not fine. */
  objects: { object: string; concern: Concern }[]
  /** Sparks that do not answer. */
  silent: string[]
}

/** Before the first look nothing is known, which is not that all is well. */
export const isKnown = (status: Status): boolean =>
  status.revision !== null ||
  Boolean(status.file_error || status.pending_approval || status.fenced)

export type Health = {
  result: 'success' | 'loading' | 'failure'
  message: string
}

/** The words for each concern; which it is, the program has said. */
export function judge(status: Status): Health {
  if (status.fenced) return { result: 'failure', message: status.fenced }
  if (status.pending_approval) {
    const names = 'cluster.yaml'
    return {
      result: 'loading',
      message: i18n('Waits for your yes on the page: ${names}', { names }),
    }
  }
  if (status.file_error) {
    return {
      result: 'failure',
      message: i18n('The file is not in force; the page says why'),
    }
  }
  const { concern, objects, silent } = status.headline
  const names = {
    names: objects
      .filter((one) => one.concern === concern)
      .map((one) => one.object)
      .join(', '),
  }
  switch (concern) {
    case 'needs_you':
      return {
        result: 'failure',
        message: i18n('Needs attention: ${names}', names),
      }
    case 'out_of_sight': {
      const unseen = silent.length > 0 ? { names: silent.join(', ') } : names
      return {
        result: 'failure',
        message: i18n('Not reached: ${names}', unseen),
      }
    }
    case 'asks_for_approval':
      return {
        result: 'loading',
        message: i18n('Waits for your yes on the page: ${names}', names),
      }
    case 'passing':
      return {
        result: 'loading',
        message: i18n('On its way: ${names}', names),
      }
    case 'as_wished':
      return {
        result: 'success',
        message: i18n(
          'Left as it is, because somebody wants it so: ${names}',
          names,
        ),
      }
    case 'fine':
      return {
        result: 'success',
        message: i18n('Everything is as the file says'),
      }
  }
}
