/** Another model in the main slot. The form shows of each what would be done, before anything is written. */
import { types } from '@start9labs/start-sdk'
import { i18n } from '../i18n'
import { askFor, patch } from '../program'
import { sdk } from '../sdk'
import { always, revision, written } from './form'

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
  /** By Spark, whether it fits: `fits, 31 GiB to spare`. */
  memory: { spark: string; fits: boolean; verdict: string }[]
  plan: string | null
  blocked: string | null
  refused: string | null
}

/** Keeps the slot empty; the catalog tells of it, too. */
const none = 'none'
/** No name of a model: with it, what serves is watched and left alone. */
const watch = 'watch only'

const plan = (text: string) =>
  InputSpec.of({
    plan: Value.dynamicTextarea(() => ({
      name: i18n('What would be done'),
      required: false,
      default: text,
      // Some versions of StartOS show no default here.
      placeholder: text,
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
  if (choice.plan === null)
    return i18n('The Sparks were not seen; it is planned when they are')
  // Whether it fits comes before what would be done.
  const memory = choice.memory.map(
    ({ spark, verdict }) => `${spark}: ${verdict}`,
  )
  return [...memory, choice.plan].join('\n')
}

const named = ({ model, sparks, is_wanted }: Choice): string => {
  const name = model === none ? i18n('No model') : model
  if (is_wanted) return i18n('${name} (as it is)', { name })
  return sparks.length > 0 ? `${name} (${sparks.join(', ')})` : name
}

async function form({ effects }: { effects: types.Effects }) {
  const catalog = await askFor<Catalog>(effects, ['models'])
  const variant = (choice: Choice) => ({
    name: named(choice),
    spec: plan(outlook(choice)),
  })
  const variants: Record<string, ReturnType<typeof variant>> = {
    [watch]: {
      name: i18n('Only watch'),
      spec: plan(i18n('What serves is shown, and left alone.')),
    },
    ...Object.fromEntries(
      catalog.choices.map((choice) => [choice.model, variant(choice)]),
    ),
  }
  return InputSpec.of({
    revision: revision(catalog.revision),
    model: Value.union({
      name: i18n('Model'),
      default: catalog.model in variants ? catalog.model : watch,
      variants: Variants.of(variants),
    }),
  })
}

export const chooseModel = sdk.Action.withInput(
  'choose-model',
  async () => ({
    ...always,
    name: i18n('Choose model'),
    description: i18n('Which model should serve; what it takes is shown first'),
  }),
  form,
  async () => null,
  async ({ effects, input }) =>
    written(
      await patch(
        effects,
        {
          model: input.model.selection === watch ? null : input.model.selection,
        },
        { base: input.revision },
      ),
    ),
)
