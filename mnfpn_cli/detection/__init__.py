"""From maps to boxes: anchors, decoding, suppression; images in, boxes drawn."""
