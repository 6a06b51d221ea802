/** Our own program, run beside the service: it checks what it is told, and is the only one that writes `cluster.yaml`. */
import { types } from '@start9labs/start-sdk'
import { ChildProcess } from 'node:child_process'
import { i18n } from './i18n'
import { sdk } from './sdk'
import { binary, environment, imageId, mounts, user } from './utils'

/** Its exit codes: 0 done, 2 something would change, 4 something waits; 1 is an error, 3 that it came too late. */
const fine = [0, 2, 4]
export const waits = 4

/** Longer than a look at Sparks that are silent; `exec` would end it after half a minute, without a word. */
const deadline = 100_000

export type Answer = { code: number; data: string; said: string }

/** Ask it; what it refuses is the sentence that the owner reads. */
export async function ask(
  effects: types.Effects,
  words: string[],
  input = '',
): Promise<Answer> {
  return sdk.SubContainer.withTemp(
    effects,
    { imageId },
    mounts(),
    'ask',
    async (place) => {
      const child = await place.spawn([binary, ...words], {
        env: environment,
        user,
        stdio: 'pipe',
      })
      const answer = await ended(child, input)
      if (!fine.includes(answer.code)) throw new Error(sentence(answer.said))
      return answer
    },
  )
}

function ended(child: ChildProcess, input: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const answer = { code: -1, data: '', said: '' }
    const late = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(i18n('There was no answer in time; try again')))
    }, deadline)
    child.stdout?.on('data', (part) => (answer.data += String(part)))
    child.stderr?.on('data', (part) => (answer.said += String(part)))
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(late)
      resolve({ ...answer, code: code ?? -1 })
    })
    // What has ended already reads no more; its answer says why.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}

/** The same, when it answers with JSON. */
export async function askFor<T>(
  effects: types.Effects,
  words: string[],
): Promise<T> {
  const { data } = await ask(effects, [...words, '--output', 'json'])
  return JSON.parse(data) as T
}

export type Edit = {
  /** The revision that the form was filled from: what was edited since is not overwritten. */
  base?: number | null
  /** A first edit makes the file. */
  create?: boolean
}

/** Change fields of the file, as a merge patch (RFC 7396); comments stay. What it says of it. */
export async function patch(
  effects: types.Effects,
  change: unknown,
  edit: Edit = {},
): Promise<Answer> {
  const words = ['desired', 'patch', '--stdin']
  if (edit.base) words.push('--base', String(edit.base))
  else if (edit.create) words.push('--create')
  return ask(effects, words, JSON.stringify(change))
}

/** What is wrong, without the picture of the place in the file that a terminal shows. */
export function sentence(said: string): string {
  const lines = said.replace(/\u001b\[[0-9;]*m/g, '').split('\n')
  const told = lines.flatMap((line) => {
    const match = /^(?:error|warning): (.*)$|^\s*\|\s*\^+ (?!here$)(.*)$/.exec(
      line,
    )
    const found = match?.[1] ?? match?.[2]
    return found ? [found] : []
  })
  // Its first line only says who was asked, and that there is more below.
  const plain = told.map((line) =>
    line.replace(/^asking the running controller at \S+: /, ''),
  )
  if (plain.length > 1 && plain[0]?.endsWith(':')) plain.shift()
  return (
    plain.map((line) => (/[.?!:]$/.test(line) ? line : `${line}.`)).join(' ') ||
    said.trim() ||
    'spark-control said nothing'
  )
}
