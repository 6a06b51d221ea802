/** What several forms need. The patterns help who types; the program checks everything again. */
import { types } from '@start9labs/start-sdk'
import { i18n } from '../i18n'
import { Answer, askFor, waits } from '../program'
import { sdk } from '../sdk'

/** Of every action: the program answers whether the service runs or not. */
export const always = {
  warning: null,
  allowedStatuses: 'any',
  group: null,
  visibility: 'enabled',
} as const

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
export const written = ({ code, said }: Answer) => ({
  version: '1' as const,
  title:
    code === waits
      ? i18n('It is written, and waits for your yes')
      : i18n('It is written'),
  message:
    code === waits
      ? i18n(
          'It takes much out of the file: look at it on the page, and agree there.',
        )
      : said.trim() || null,
  result: null,
})

/** The revision that a form was filled from, for the form to bring back. */
export const revision = (current: number | null) =>
  sdk.Value.dynamicNumber(() => ({
    name: i18n('Revision of the file'),
    description: i18n(
      'What was edited since this form was opened is not overwritten.',
    ),
    required: false,
    default: current,
    integer: true,
    disabled: i18n('It cannot be changed.'),
  }))
