/** A new password for the page and the API, shown once; the program keeps only its hash. */
import { storeJson } from '../fileModels/store.json'
import { i18n } from '../i18n'
import { askFor } from '../program'
import { sdk } from '../sdk'
import { tokenName } from '../utils'
import { always } from './form'

export const setPassword = sdk.Action.withoutInput(
  'set-password',
  async () => ({
    ...always,
    name: i18n('Set password'),
    description: i18n('Make a new password for the page and the API'),
    warning: i18n(
      'The password before, if there was one, is worth nothing then.',
    ),
  }),
  async ({ effects }) => {
    const { token } = await askFor<{ token: string }>(effects, [
      'token',
      'renew',
      tokenName,
      '--role',
      'approve',
    ])
    await storeJson.merge(effects, { passwordSet: true })
    return {
      version: '1',
      title: i18n('The new password'),
      message: i18n(
        'It is shown this once. The page asks for it; programs send it as a bearer token.',
      ),
      result: {
        type: 'single',
        value: token,
        copyable: true,
        qr: false,
        masked: true,
      },
    }
  },
)
