import { setupManifest } from '@start9labs/start-sdk'
import { long, short } from './i18n'

const image = process.env.SPARK_CONTROL_IMAGE

export const manifest = setupManifest({
  id: 'spark-control',
  title: 'Spark Control',
  license: 'MIT',
  packageRepo: 'https://example.com/spark-control',
  upstreamRepo: 'https://example.com/spark-control',
  marketingUrl: 'https://example.com/spark-control',
  donationUrl: null,
  description: { short, long },
  volumes: ['main'],
  images: {
    'spark-control': {
      // A local image when one is named, else what the Dockerfile builds.
      source: image
        ? { dockerTag: image }
        : { dockerBuild: { workdir: '..', dockerfile: './Dockerfile' } },
      arch: ['x86_64', 'aarch64'],
    },
  },
  dependencies: {},
})
