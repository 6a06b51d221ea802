/** Our own program, run beside the service: it checks what it is told, and is the only one that writes `cluster.yaml`. */
import { types } from '@start9labs/start-sdk'
import { sdk } from './sdk'
import { binary, environment, imageId, mounts } from './utils'

/** Its exit codes: 0 done, 2 something would change, 4 something waits; 1 is an error, 3 that it came too late. */
const fine = [0, 2, 4]

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
      const { exitCode, stdout, stderr } = await place.exec(
        [binary, ...words],
        // Only what reads is given something to read: without, it would wait.
        { input, env: environment },
      )
      const answer = {
        code: exitCode ?? -1,
        data: String(stdout),
        said: String(stderr),
      }
      if (!fine.includes(answer.code)) throw new Error(sentence(answer.said))
      return answer
    },
  )
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
  base?: number
  /** A first edit makes the file. */
  create?: boolean
}

/** Change fields of the file, as a merge patch (RFC 7396); comments stay. What it says of it. */
export async function patch(
  effects: types.Effects,
  change: unknown,
  edit: Edit = {},
): Promise<string> {
  const words = ['desired', 'patch', '--stdin']
  if (edit.create) words.push('--create')
  if (edit.base !== undefined) words.push('--base', String(edit.base))
  const { said } = await ask(effects, words, JSON.stringify(change))
  return said.trim()
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
  // Its first line only says that there is one below.
  if (told.length > 1 && told[0]?.endsWith(':')) told.shift()
  return told.join('. ') || said.trim() || 'spark-control said nothing'
}
