"""Pictures with masks: pairs of folders, cut-outs on backgrounds, augmentation, and the stream that training reads."""
