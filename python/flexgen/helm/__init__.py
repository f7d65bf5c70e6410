"""HELM (crfm-helm 0.5.16) on this engine; docs/helm.md is the guide.

HELM asks a model request by request. `flexgen helm run` lets it say first what it will ask (its dry run), answers all
of it as one batch job (run.py), and lets it ask again, now of a client that looks the answers up (client.py); metrics are
HELM's own. `flexgen helm config` writes what HELM needs to ask a server instead (config.py). Texts are tokenized by the
engine in both cases (tokenizer.py), so that HELM counts the tokens that the engine sees.
"""
