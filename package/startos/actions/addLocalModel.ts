/** A model whose files are on the Sparks already. It is added to the catalog, and not started. */
import { described } from '../fileModels/cluster.yaml'
import { i18n } from '../i18n'
import { patch } from '../program'
import { sdk } from '../sdk'
import { always, blank, desired, patterns, written } from './form'

const { InputSpec, Value } = sdk

const spec = InputSpec.of({
  name: Value.text({
    name: i18n('Name'),
    description: i18n('How it is called in the catalog, and by clients'),
    required: true,
    default: null,
    patterns: [patterns.name],
  }),
  path: Value.text({
    name: i18n('Folder'),
    description: i18n('The whole path, the same on every Spark of the model'),
    required: true,
    default: null,
    placeholder: '/srv/models/my-model',
    patterns: [patterns.path],
  }),
  sparks: Value.dynamicMultiselect(async () => {
    const names = Object.keys((await described())?.sparks ?? {})
    return {
      name: i18n('Sparks'),
      description: i18n('Where it runs; on several, it is split over them'),
      default: names.slice(0, 1),
      minLength: 1,
      values: Object.fromEntries(names.map((name) => [name, name])),
    }
  }),
  memory: Value.number({
    name: i18n('Memory'),
    description: i18n('What it needs on each Spark; blank: it is learned'),
    required: false,
    default: null,
    integer: false,
    min: 1,
    units: 'GiB',
  }),
})

export const addLocalModel = sdk.Action.withInput(
  'add-local-model',
  async () => ({
    ...always,
    name: i18n('Add local model'),
    description: i18n(
      'Add a model whose files are on the Sparks; nothing is started',
    ),
  }),
  spec,
  async () => null,
  async ({ effects, input }) => {
    const current = await desired(effects)
    if (Object.hasOwn(current.value.models ?? {}, input.name)) {
      throw new Error(
        i18n('There is a model named ${name} already; take another name', {
          name: input.name,
        }),
      )
    }
    return written(
      await patch(effects, change(input), {
        base: current.revision,
      }),
    )
  },
)

export function change(input: typeof spec._TYPE) {
  const split = input.sparks.length
  return {
    models: {
      [input.name]: {
        local_path: input.path,
        sparks: input.sparks,
        ...(blank(input.memory) === null ? {} : { memory_gib: input.memory }),
        ...(split > 1 ? { args: { 'tensor-parallel-size': split } } : {}),
      },
    },
  }
}
