/** Another model in the main slot. The form shows of each what would be done, before anything is written. */
import { types } from '@start9labs/start-sdk'
import { i18n } from '../i18n'
import { askFor, patch } from '../program'
import { sdk } from '../sdk'
import { written } from './form'

const { InputSpec, Value, Variants } = sdk

/** `spark-control models --output json`. */
type Catalog = {
  revision: number | null
  model: string
  choices: Choice[]
}

type Choice = {
  model: string
  is_wanted: boolean
  sparks: string[]
  plan: string | null
  blocked: string | null
  refused: string | null
}

/** Keeps the slot empty. */
const none = 'none'

const plan = (text: string) =>
  InputSpec.of({
    plan: Value.dynamicTextarea(() => ({
      name: i18n('What would be done'),
      required: false,
      default: text,
      minRows: 8,
      maxRows: 24,
      disabled: i18n(
        'This is shown so that you can decide; it cannot be changed.',
      ),
    })),
  })

/** What is shown of a model before it is chosen. */
export function outlook(choice: Choice): string {
  if (choice.refused) return choice.refused
  return (
    choice.plan ?? i18n('The Sparks were not seen; it is planned when they are')
  )
}

async function form({ effects }: { effects: types.Effects }) {
  const catalog = await askFor<Catalog>(effects, ['models'])
  const named = catalog.choices.map(({ model, sparks, is_wanted, ...rest }) => [
    model,
    {
      name: is_wanted
        ? i18n('${model} (as it is)', { model })
        : `${model} (${sparks.join(', ')})`,
      spec: plan(outlook({ model, sparks, is_wanted, ...rest })),
    },
  ])
  const nothing = {
    name: i18n('No model'),
    spec: plan(i18n('What serves is stopped, and nothing takes its place.')),
  }
  const variants: Record<string, typeof nothing> = {
    ...Object.fromEntries(named),
    [none]: nothing,
  }
  return InputSpec.of({
    revision: Value.dynamicNumber(() => ({
      name: i18n('Revision of the file'),
      description: i18n(
        'What was edited since this form was opened is not overwritten.',
      ),
      required: false,
      default: catalog.revision,
      integer: true,
      disabled: i18n('It cannot be changed.'),
    })),
    model: Value.union({
      name: i18n('Model'),
      default: catalog.model in variants ? catalog.model : none,
      variants: Variants.of(variants),
    }),
  })
}

export const chooseModel = sdk.Action.withInput(
  'choose-model',
  async () => ({
    name: i18n('Choose model'),
    description: i18n('Which model should serve; what it takes is shown first'),
    warning: null,
    allowedStatuses: 'any',
    group: null,
    visibility: 'enabled',
  }),
  form,
  async () => null,
  async ({ effects, input }) =>
    written(
      await patch(
        effects,
        { model: input.model.selection },
        { base: input.revision ?? undefined },
      ),
    ),
)
