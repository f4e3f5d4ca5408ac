"""How an image moves: what a step makes of the gradient on the kept pixels, one move a file.

To add one: write a file here, named after the move, whose class is decorated with `@register_move("name")`. It sees
gradients and pixels and never what the losses see; `inversion/step.py` knows none by name.
"""
