/** What several forms need. The patterns help who types; the program checks everything again. */
import { types } from '@start9labs/start-sdk'
import { i18n } from '../i18n'
import { askFor } from '../program'

export const patterns = {
  address: {
    regex: '^[A-Za-z0-9][A-Za-z0-9.-]*$',
    description: i18n('An IPv4 address or a host name'),
  },
  account: {
    regex: '^[a-z_][a-z0-9_-]{0,31}$',
    description: i18n('The name of an account'),
  },
  name: {
    regex: '^[A-Za-z0-9][A-Za-z0-9_.-]*$',
    description: i18n('Letters, figures, dots, dashes and underscores'),
  },
  path: {
    regex: '^[A-Za-z0-9/_.+@=%-]+$',
    description: i18n('The path of a folder, without spaces'),
  },
}

/** What a form is filled from, and the revision to name when it comes back. */
export type Desired = { revision: number | null; value: Fields }

export type Fields = {
  model?: string | null
  sparks?: Record<string, unknown>
  models?: Record<string, { sparks?: string[] }>
  holds?: Record<
    string,
    { owner?: string; reason?: string; until?: string | null }
  >
}

/** The file as the program reads it. */
export const desired = (effects: types.Effects) =>
  askFor<Desired>(effects, ['desired', 'get'])

/** What is blank is not said. */
export const blank = <T>(value: T | null | undefined): T | null =>
  value === undefined || value === '' ? null : value

/** The answer of an edit, as an owner reads it. */
export const written = (said: string) => ({
  version: '1' as const,
  title: i18n('It is written'),
  message: said || null,
  result: null,
})
