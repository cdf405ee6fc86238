"""Backbones: networks that turn a picture into four maps of growing stride."""

from birefnet.network.backbones.base import BACKBONES, Backbone, BackboneSpec, find_backbone

__all__ = ["BACKBONES", "Backbone", "BackboneSpec", "find_backbone"]
