"""A language model that was trained with Isobath, for transformers (load it with trust_remote_code=True). The README.md beside it says more.

Mixture-of-Depths is that of Raposo et al. 2024 (arXiv 2404.02258), here called the paper. Shapes are written with these letters: B texts, T tokens of
each in this pass, R rows that run, S keys, D width, H heads, G key-value heads, E head size, V vocabulary."""

import inspect
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
import transformers
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_isobath import IsobathConfig
