/** What StartOS shows of the cluster's health, from what the program saw last. */
import { i18n } from './i18n'

/** `spark-control status --known --output json`, as far as it is needed. */
export type Status = {
  /** Of what is in force; `null`: nothing is, or nothing was looked at yet. */
  revision: number | null
  file_error: string | null
  fenced: string | null
  /** The file takes much out, and somebody must agree first. */
  waits?: unknown
  objects: Line[]
  sparks: Record<string, View> | null
}

/** A slot or a service. */
export type Line = {
  object: string
  sync: string
  health: string
  reason: string | null
  message: string
}

/** A Spark as it was seen. */
export type View = {
  reach: string
  why?: string
  memory_available_bytes?: number
}

/** Before the first look nothing is known, which is not that all is well. */
export const isKnown = (status: Status): boolean =>
  status.revision !== null ||
  Boolean(status.file_error || status.waits || status.fenced)

export type Health = {
  result: 'success' | 'loading' | 'failure'
  message: string
}

/** Somebody wanted it so, unless nothing is there any more. */
const wanted = ['Held', 'ReportOnly', 'Suspended']
const isWanted = ({ reason, health }: Line) =>
  wanted.includes(reason ?? '') && !['Missing', 'Unknown'].includes(health)

/** Something on its way is told apart from what needs somebody, and that from what somebody wanted. */
export function judge(status: Status): Health {
  if (status.fenced) return { result: 'failure', message: status.fenced }
  if (status.waits) {
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
  const silent = Object.entries(status.sparks ?? {}).filter(
    ([, view]) => view.reach !== 'reachable',
  )
  if (silent.length > 0) {
    const names = silent.map(([name]) => name).join(', ')
    return {
      result: 'failure',
      message: i18n('Not reached: ${names}', { names }),
    }
  }
  const others = status.objects.filter((line) => !isWanted(line))
  const asks = others.filter(({ reason }) => reason === 'ApprovalNeeded')
  const rest = others.filter(({ reason }) => reason !== 'ApprovalNeeded')
  const bad = rest.filter(
    ({ health, sync }) =>
      health === 'Degraded' ||
      // What is only watched may be absent.
      (['Missing', 'Unknown'].includes(health) && sync !== 'InSync'),
  )
  const moving = rest.filter(({ health }) => health === 'Progressing')
  const names = (these: Status['objects']) => ({
    names: these.map((one) => one.object).join(', '),
  })
  if (bad.length > 0) {
    return {
      result: 'failure',
      message: i18n('Needs attention: ${names}', names(bad)),
    }
  }
  if (asks.length > 0) {
    return {
      result: 'loading',
      message: i18n('Waits for your yes on the page: ${names}', names(asks)),
    }
  }
  if (moving.length > 0) {
    return {
      result: 'loading',
      message: i18n('On its way: ${names}', names(moving)),
    }
  }
  const left = status.objects.filter(
    (line) => isWanted(line) && line.health !== 'Healthy',
  )
  if (left.length > 0) {
    return {
      result: 'success',
      message: i18n(
        'Left as it is, because somebody wants it so: ${names}',
        names(left),
      ),
    }
  }
  return { result: 'success', message: i18n('Everything is as the file says') }
}
